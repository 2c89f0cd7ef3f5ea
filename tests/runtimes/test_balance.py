"""Balanced epochs: permutations, pure, drawn anew, and every step of about as many tokens."""

from __future__ import annotations

import numpy as np
import pytest

from podsquad.runtimes.balance import balanced_order, most_tokens_of_a_step


def some_lengths(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 385, count)


@pytest.mark.parametrize(("count", "batch"), [(1000, 32), (1000, 1000), (999, 32), (5, 32), (33, 32), (1, 1), (0, 4)])
def test_every_feature_comes_once_and_no_step_is_larger_than_told(count: int, batch: int) -> None:
    lengths = some_lengths(count)
    most = most_tokens_of_a_step(lengths, batch)
    for epoch in range(3):
        order = balanced_order(11, epoch, lengths, batch)
        assert sorted(order.tolist()) == list(range(count))
        assert all(lengths[order[first : first + batch]].sum() <= most for first in range(0, count, batch))


def test_full_steps_differ_by_less_than_a_feature() -> None:
    lengths = some_lengths(10_000)
    order = balanced_order(1, 0, lengths, 64)
    sums = lengths[order[: 156 * 64]].reshape(156, 64).sum(1)
    assert sums.max() - sums.min() < 384
    shuffled = np.random.default_rng(0).permutation(10_000)[: 156 * 64]
    assert lengths[shuffled].reshape(156, 64).sum(1).std() > 10 * sums.std()


def test_the_order_is_drawn_anew_for_each_epoch_and_seed() -> None:
    lengths = some_lengths(500)
    orders = [balanced_order(seed, epoch, lengths, 16).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert balanced_order(1, 0, lengths, 16).tolist() == orders[0]


def test_the_order_is_held_forever() -> None:
    # A trained model's ledger depends on it.
    lengths = np.array([30, 10, 20, 40, 10, 50, 60, 20, 30, 70])
    assert balanced_order(1984, 0, lengths, 4).tolist() == [1, 2, 0, 9, 4, 7, 3, 5, 8, 6]


def test_who_meets_whom_is_chance() -> None:
    lengths = some_lengths(64)
    met = {frozenset(balanced_order(seed, 0, lengths, 8)[:8].tolist()) for seed in range(50)}
    assert len(met) == 50
