"""Dropout with shared draws: the share, the expectation, and the same again from the same seed."""

from __future__ import annotations

import pytest
import torch

from podsquad.runtimes.torch.dropout import SharedDrawsDropout, draw_kept, use_shared_draws


def make(probability: float = 0.1) -> torch.nn.Dropout:
    layer = torch.nn.Dropout(probability)
    assert use_shared_draws(layer) == 1
    assert isinstance(layer, SharedDrawsDropout)
    return layer


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_so_many_are_dropped_and_the_rest_makes_up_for_them(probability: float) -> None:
    torch.manual_seed(0)
    kept = draw_kept(torch.empty(1000, 1001), probability)
    values = kept.unique().tolist()
    assert len(values) == 2
    assert values[0] == 0.0
    share = float((kept == 0).double().mean())
    assert share == pytest.approx(probability, abs=5 * (probability * (1 - probability) / kept.numel()) ** 0.5)
    dropped = round(probability * 2**16) / 2**16
    assert values[1] == pytest.approx(1 / (1 - dropped), rel=1e-7)


def test_each_of_the_values_that_share_a_draw_is_dropped_alike_often_and_by_itself() -> None:
    torch.manual_seed(0)
    dropped = (draw_kept(torch.empty(250_000, 4), 0.5) == 0).double()
    assert dropped.mean(0).tolist() == pytest.approx([0.5] * 4, abs=0.005)
    together = (dropped.T @ dropped) / len(dropped)
    assert together[~torch.eye(4, dtype=torch.bool)].tolist() == pytest.approx([0.25] * 12, abs=0.005)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shapes_that_four_does_not_divide_and_every_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    kept = draw_kept(torch.empty(shape, dtype=dtype), 0.5)
    assert kept.shape == shape
    assert kept.dtype == dtype


@pytest.mark.parametrize("probability", [1e-9, 1 - 1e-9])
def test_a_share_near_the_ends_still_drops_and_keeps(probability: float) -> None:
    torch.manual_seed(0)
    assert draw_kept(torch.empty(2_000_000), probability).unique().numel() == 2


def test_all_may_be_dropped() -> None:
    assert not draw_kept(torch.ones(3, 5), 1.0).any()


@pytest.mark.parametrize("probability", [0.0, 1.5, -0.1])
def test_what_needs_no_draw_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="needs no draw"):
        draw_kept(torch.empty(4), probability)


def test_the_same_seed_draws_the_same_whatever_the_threads() -> None:
    layer, given = make(), torch.randn(512, 512)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(7)
            found.append(layer(given))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    assert not torch.equal(layer(given), found[0])


def test_the_gradient_is_of_what_was_kept() -> None:
    layer, given = make(0.5), torch.randn(64, 64, requires_grad=True)
    dropped = layer(given)
    dropped.sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad * given, dropped)
    assert set(given.grad.unique().tolist()) == {0.0, 2.0}


def test_outside_of_training_nothing_is_dropped() -> None:
    given = torch.randn(8, 8)
    assert torch.equal(make().eval()(given), given)


@pytest.mark.parametrize("layer", [torch.nn.Dropout(0.0), torch.nn.Dropout(1.0), torch.nn.Dropout1d(0.5)])
def test_layers_that_are_none_or_of_another_kind_stay_as_they_are(layer: torch.nn.Module) -> None:
    kind = type(layer)
    assert use_shared_draws(layer) == 0
    assert type(layer) is kind
