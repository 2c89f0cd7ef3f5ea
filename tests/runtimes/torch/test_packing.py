"""Packed equals padded with its padding masked, in values and in gradients, and does not see its neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from podsquad.errors import SettingsError
from podsquad.runtimes.torch import group_attention
from podsquad.runtimes.torch.attention import attention_of, packed_attention
from podsquad.runtimes.torch.linear import OneDnnLinear, is_available, use_onednn
from podsquad.runtimes.torch.packing import pack
from podsquad.runtimes.torch.reader import summed_loss, token_logits
from tests.runtimes.torch.encoders import KINDS, LENGTHS, form_of, make_encoder, make_sequences


def logits_of(model: Any, formulation: str) -> torch.Tensor:
    batch = form_of(model, formulation).batch(make_sequences(), np.array(LENGTHS) // 2)
    start, end = token_logits(model, batch)
    return torch.stack((start, end))[:, batch.row_tokens[batch.row_mask]]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_logits_are_the_padded_model_s(kind: str) -> None:
    model = make_encoder(kind, torch.float64).eval()
    packed, padded = logits_of(model, "packed"), logits_of(model, "padded")
    assert packed.shape == (2, sum(LENGTHS))
    assert padded.std() > 0.1
    assert torch.allclose(packed, padded, rtol=1e-10, atol=1e-10)


def gradients_of(model: Any, formulation: str) -> dict[str, torch.Tensor]:
    model.zero_grad()
    batch = form_of(model, formulation).batch(make_sequences(), np.array(LENGTHS) // 2)
    labels = torch.arange(len(LENGTHS)) % 4
    summed_loss(model, batch, labels, labels + 1).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_gradients_are_the_padded_model_s(kind: str, onednn: bool) -> None:
    model = make_encoder(kind, torch.float32).train()
    padded = gradients_of(model, "padded")
    if onednn and not use_onednn(model):
        pytest.skip("this torch has no oneDNN")
    packed = gradients_of(model, "packed")
    # Against the largest gradient: key biases' true gradient is 0, what stands there is rounding.
    scale = max(float(gradient.abs().max()) for gradient in padded.values())
    for name, gradient in padded.items():
        assert torch.allclose(packed[name], gradient, rtol=1e-5, atol=1e-5 * scale), name


def test_the_loss_is_hugging_face_s_where_nothing_is_padded() -> None:
    model = make_encoder("roberta", torch.float64).eval()
    ids = np.random.default_rng(1).integers(2, 50, (3, 12))
    starts, ends = torch.tensor([1, 2, 3]), torch.tensor([4, 2, 11])
    model.set_attn_implementation(attention_of("padded"))
    theirs = model(input_ids=torch.from_numpy(ids), start_positions=starts, end_positions=ends).loss
    ours = summed_loss(model, form_of(model, "packed").batch(list(ids), np.zeros(3)), starts, ends) / 3
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-12)


@pytest.mark.parametrize("spread", [0, 4, 1000])
def test_a_sequence_does_not_see_its_neighbours(spread: int) -> None:
    model = make_encoder("roberta", torch.float64).eval()
    model.set_attn_implementation(attention_of("packed"))

    def first_logits(others: int) -> torch.Tensor:
        rng = np.random.default_rng(others)
        batch = pack(
            [np.arange(2, 12), rng.integers(2, 50, 12), rng.integers(2, 50, 12)],
            first_position=2,
            spread_tokens=spread,
        )
        return token_logits(model, batch)[0][:10]

    assert torch.equal(first_logits(1), first_logits(2))


def test_groups_keep_to_the_spread() -> None:
    batch = pack([np.arange(length) for length in (5, 5, 9, 12, 13)], first_position=0, spread_tokens=4)
    assert batch.packing is not None
    groups = batch.packing.groups
    assert [(group.first, group.past, group.num_sequences, group.longest) for group in groups] == [
        (0, 19, 3, 9),
        (19, 44, 2, 13),
    ]
    assert batch.packing.boundaries.tolist() == [0, 5, 10, 19, 31, 44]
    equal = pack([np.arange(5)] * 3, first_position=0).packing
    assert equal is not None
    assert equal.groups[0].mask is None


@pytest.mark.parametrize("fill", [1, 8, 64, 512])
def test_a_buffer_is_filled_up_with_sequences_that_fit(fill: int) -> None:
    batch = pack([np.arange(1, 8), np.arange(1, 12)], first_position=2, fill_tokens=fill, filler_id=9)
    assert batch.packing is not None
    assert batch.position_ids is not None
    assert batch.input_ids.shape[1] == -(-18 // fill) * fill == batch.packing.groups[-1].past
    assert batch.input_ids[0, 18:].unique().tolist() == [9] * (fill > 1)
    assert int(batch.position_ids.max()) == 2 + 10
    assert int(batch.packing.boundaries.diff().max()) == batch.packing.longest == 11
    assert batch.row_tokens.shape == (2, 11)
    assert int(batch.row_tokens.max()) == 17


@pytest.mark.parametrize("kind", KINDS)
def test_attention_over_the_flat_buffer_is_that_over_groups(kind: str) -> None:
    model = make_encoder(kind, torch.float32).eval()
    form = form_of(model, "packed")
    found = []
    for grouped in (True, False):
        batch = replace(form, grouped=grouped).batch(make_sequences(), np.array(LENGTHS) // 2)
        assert batch.packing is not None
        assert bool(batch.packing.groups) is grouped
        with torch.inference_mode():
            found.append(token_logits(model, batch)[0][batch.row_tokens[batch.row_mask]])
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


def test_positions_start_anew_in_every_sequence() -> None:
    batch = pack([np.arange(2), np.arange(3)], first_position=2, type_starts=np.array([1, 2]))
    assert batch.position_ids is not None
    assert batch.token_type_ids is not None
    assert batch.position_ids.tolist() == [[2, 3, 2, 3, 4]]
    assert batch.token_type_ids.tolist() == [[0, 1, 0, 0, 1]]
    assert batch.row_tokens[batch.row_mask].tolist() == [0, 1, 2, 3, 4]


def test_attention_without_a_packing_refuses() -> None:
    some = torch.zeros(1, 2, 4, 8)
    with pytest.raises(SettingsError, match="cannot run packed"):
        packed_attention(torch.nn.Identity(), some, some, some, None)


def test_attention_dropout_is_honoured() -> None:
    query = torch.randn(1, 2, 10, 8)
    packing = pack([np.arange(4), np.arange(6)], first_position=0).packing
    torch.manual_seed(0)
    dropped, _ = packed_attention(torch.nn.Identity(), query, query, query, None, dropout=0.5, packing=packing)
    kept, _ = packed_attention(torch.nn.Identity(), query, query, query, None, packing=packing)
    assert not torch.allclose(dropped, kept)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("spread", "groups"), [(1, [(1, 2, 4, 4), (2, 2, 6, 6)]), (32, [(3, 2, 6, 6)])])
def test_attention_in_training_is_the_same_times_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, window: int | None, dtype: torch.dtype, spread: int, groups: list[tuple[int, ...]]
) -> None:
    shapes = []

    def keep_all(weights: torch.Tensor, probability: float, _: object) -> torch.Tensor:
        shapes.append(tuple(weights.shape))
        assert probability == 0.5
        return torch.full_like(weights, 2.0)

    monkeypatch.setattr(group_attention, "draw_kept", keep_all)
    packing = pack([np.arange(4), np.arange(6), np.arange(6)], first_position=0, spread_tokens=spread).packing
    found = []
    for dropout, times in ((0.0, 2.0), (0.5, 1.0)):
        torch.manual_seed(0)
        given = [torch.randn(1, 2, 16, 8, dtype=dtype, requires_grad=True) for _ in range(3)]
        attended, _ = packed_attention(
            torch.nn.Identity(), *given, None, dropout=dropout, packing=packing, sliding_window=window
        )
        assert attended.dtype == dtype
        (attended * times).square().sum().backward()
        found.append([attended.detach() * times, *(tensor.grad for tensor in given)])
    assert shapes == groups
    close = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 0.05, "atol": 0.2}
    for without, kept in zip(*found, strict=True):
        assert torch.allclose(without, kept, **close)


@pytest.mark.skipif(not is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_onednn_products_are_torch_s(bias: bool) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(24, 40, bias=bias)
    ours = torch.nn.Linear(24, 40, bias=bias)
    ours.load_state_dict(plain.state_dict())
    assert use_onednn(ours) == 1
    assert isinstance(ours, OneDnnLinear)
    inputs = [torch.randn(2, 7, 24, requires_grad=True) for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    weight = torch.randn(2, 7, 40)
    for layer, given in zip((plain, ours), inputs, strict=True):
        (layer(given) * weight).sum().backward()
    assert torch.allclose(ours(inputs[0]), plain(inputs[0]), atol=1e-5)
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-5)
    for name, parameter in plain.named_parameters():
        assert torch.allclose(dict(ours.named_parameters())[name].grad, parameter.grad, atol=1e-4), name
