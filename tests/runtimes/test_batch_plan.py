"""Batch arithmetic, checked against the reference run's and by counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from podsquad.errors import DataError, SettingsError
from podsquad.runtimes.batch_plan import estimate_memory, micro_batches, plan_batches, total_steps


def layout(num_features: int, longest: int = 384) -> dict[str, Any]:
    return {"splits": {"train": {"num_features": num_features, "num_tokens": 99, "longest_tokens": longest}}}


@pytest.mark.parametrize(
    ("num_features", "drop_last", "steps"),
    [
        (88_568, False, 346),  # SQuAD at 384/128: 345 x 256 + 248; the POD drops the 248
        (88_568, True, 345),
        (512, False, 2),
        (512, True, 2),
        (3, False, 1),
    ],
)
def test_steps_of_an_epoch(num_features: int, drop_last: bool, steps: int) -> None:
    plan = plan_batches(layout(num_features), 256, 8192)
    assert plan.steps_per_epoch(drop_last) == steps
    assert total_steps(plan, 2, drop_last) == 2 * steps


def test_nothing_to_train_on_is_told() -> None:
    with pytest.raises(DataError, match="no features"):
        plan_batches(layout(0, 0), 256, 8192)
    with pytest.raises(SettingsError, match="drop_last"):
        total_steps(plan_batches(layout(3), 4, 8192), 2, drop_last=True)


def test_a_feature_longer_than_a_micro_batch_is_refused() -> None:
    with pytest.raises(SettingsError, match="micro_batch_tokens is 383"):
        plan_batches(layout(10), 4, 383)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("budget", [1, 40, 64, 100, 10_000])
def test_micro_batches_hold_every_sequence_once_within_the_budget(budget: int, padded: bool) -> None:
    lengths = np.random.default_rng(0).integers(5, 41, 33)
    pieces = micro_batches(lengths, budget, padded=padded)
    assert sorted(np.concatenate(pieces).tolist()) == list(range(33))
    for piece in pieces:
        tokens = len(piece) * lengths[piece].max() if padded else lengths[piece].sum()
        assert tokens <= budget or len(piece) == 1
    ordered = lengths[np.concatenate(pieces)]
    assert np.all(np.diff(ordered) >= 0)


def test_micro_batches_are_as_full_as_their_order_allows() -> None:
    assert [piece.tolist() for piece in micro_batches(np.array([3, 3, 3, 3, 3]), 6)] == [[0, 1], [2, 3], [4]]
    assert micro_batches(np.zeros(0, np.int64), 6) == []


def test_micro_batches_are_as_few_and_as_even_as_can_be() -> None:
    lengths = np.random.default_rng(1).integers(20, 384, 64)
    pieces = micro_batches(lengths, 2048)
    tokens = [int(lengths[piece].sum()) for piece in pieces]
    assert len(pieces) == -(-int(lengths.sum()) // 2048)
    assert max(tokens) - lengths.sum() / len(pieces) < 384 / 2
    assert min(tokens) > max(tokens) / 2


def test_the_memory_estimate_adds_up() -> None:
    made = estimate_memory(1000, tokens=10, hidden_size=8, intermediate_size=32, num_layers=2, activation_bytes=4)
    assert made.weights_bytes == made.gradients_bytes == 4000
    assert made.optimizer_bytes == 8000
    assert made.activations_bytes == 10 * (2 * (9 * 8 + 2 * 32) + 4 * 8) * 4
    assert made.as_json()["total_bytes"] == made.total_bytes == 16_000 + made.activations_bytes
    assert "1,000 parameters" in made.assumptions
