"""The one size of compiled micro-batches: everything fits, little is filled, and filler changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from podsquad.errors import InternalError
from podsquad.runtimes.balance import balanced_order
from podsquad.runtimes.batch_plan import plan_batches
from podsquad.runtimes.torch.reader import summed_loss
from podsquad.runtimes.torch.static import StaticSize, deal, decide_static_size
from tests.runtimes.torch.encoders import KINDS, LENGTHS, form_of, make_encoder, make_sequences


def squad_like(count: int = 5000) -> np.ndarray:
    return np.clip(np.random.default_rng(0).gamma(6.0, 29.0, count), 20, 384).astype(np.int64)


def plan_for(lengths: np.ndarray, batch_size: int, micro_batch_tokens: int) -> Any:
    split = {"num_features": len(lengths), "num_tokens": int(lengths.sum()), "longest_tokens": int(lengths.max())}
    return plan_batches({"splits": {"train": split}}, batch_size, micro_batch_tokens)


@pytest.mark.parametrize(("micro_batch_tokens", "processes"), [(49152, 1), (49152, 4), (8192, 1), (8192, 3)])
def test_balanced_steps_take_as_many_pieces_as_planned(micro_batch_tokens: int, processes: int) -> None:
    lengths = squad_like()
    batches = plan_for(lengths, 256, micro_batch_tokens)
    size, reason = decide_static_size(batches, lengths, processes, balanced=True)
    pieces = processes * -(-batches.num_tokens * 256 // (batches.num_features * micro_batch_tokens * processes))
    order = balanced_order(7, 3, lengths, 256)
    filled = []
    for first in range(0, len(order) - 255, 256):
        dealt = deal(lengths[order[first : first + 256]], size)
        assert len(dealt) <= pieces
        filled.append(lengths[order[first : first + 256]].sum() / (size.tokens * pieces))
    assert min(filled) > (0.985 if pieces == 1 else 0.9)
    assert "no step has more than" in reason


def test_a_whole_step_of_squad_s_lengths_wastes_less_than_one_percent() -> None:
    lengths = squad_like(88_568)
    size, _ = decide_static_size(plan_for(lengths, 256, 49152), lengths, 1, balanced=True)
    assert lengths.mean() * 256 / size.tokens > 0.99
    assert size.tokens % 64 == 0


@pytest.mark.parametrize("seed", range(20))
def test_dealing_keeps_to_the_size(seed: int) -> None:
    dice = np.random.default_rng(seed)
    lengths = dice.integers(1, 50, dice.integers(0, 60))
    size = StaticSize(tokens=int(dice.integers(50, 400)), sequences=int(dice.integers(1, 20)), longest=50)
    pieces = deal(lengths, size)
    assert sorted(np.concatenate([*pieces, np.zeros(0, np.int64)]).tolist()) == list(range(len(lengths)))
    for piece in pieces:
        assert 0 < len(piece) <= size.sequences
        assert lengths[piece].sum() <= size.tokens


def test_a_sequence_that_is_too_long_is_a_bug() -> None:
    with pytest.raises(InternalError, match="51 tokens is longer than the program's 50"):
        deal(np.array([3, 51]), StaticSize(100, 2, 50))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [149, 150, 192, 256, 320])
def test_filler_alters_neither_loss_nor_gradients(kind: str, tokens: int) -> None:
    model = make_encoder(kind, torch.float64).train()
    sequences = make_sequences()
    found = []
    for size in (None, StaticSize(tokens, 9, 40)):
        model.zero_grad()
        batch = form_of(model, "packed", size).batch(sequences, np.array(LENGTHS) // 2)
        labels = torch.zeros(len(batch.row_mask), dtype=torch.int64)
        labels[: len(LENGTHS)] = torch.arange(len(LENGTHS)) % 4
        loss = summed_loss(model, batch, labels, labels)
        loss.backward()
        found.append((loss.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}))
        if size is not None:
            assert batch.input_ids.shape == (1, tokens)
            assert batch.row_mask.shape == (9, 40)
            assert batch.packing is not None
            assert batch.packing.boundaries.shape == (size.most_sequences + 1,)
            assert int(batch.packing.boundaries.diff().max()) <= 40
    (plain_loss, plain), (loss, gradients) = found
    assert torch.allclose(loss, plain_loss, rtol=1e-12)
    scale = max(float(gradient.abs().max()) for gradient in plain.values())
    for name, gradient in plain.items():
        assert torch.allclose(gradients[name], gradient, rtol=1e-10, atol=1e-10 * scale), name
