"""An order of samples in which all steps of an epoch hold about as many tokens.

A compiled program takes micro-batches of one size. A step of features drawn at random differs from the mean by a few
percent, which would be filled up with padding. Here each step takes one feature of each *stratum*, a run of features of
about equal length, so that steps differ by less than half the longest feature in all; which one it takes, and which
step it goes to, is drawn. Like ``order.epoch_order`` a pure function, the same on every machine.

Needs numpy alone and runs on Python 3.8.
"""

from __future__ import annotations

import numpy as np

from podsquad.runtimes.order import mix, splitmix64


def balanced_order(seed: int, epoch: int, lengths: np.ndarray, batch_size: int) -> np.ndarray:
    """Return the features of an epoch in the order of their use: a permutation of 0..len(lengths)-1, int64.

    ``lengths`` are the features' tokens. Every ``batch_size`` features in turn are a step; the last may hold fewer.
    """
    with np.errstate(over="ignore"):
        drawn = splitmix64(np.arange(len(lengths), dtype=np.uint64) + np.uint64(mix(seed, epoch)))
    by_length = np.lexsort((drawn, lengths))  # among features of one length, chance says which stratum they belong to
    bounds = _strata(len(lengths), batch_size)
    stratum = np.repeat(np.arange(batch_size), np.diff(bounds))
    # Hashed again: who is first among equals must not thereby be in the first step.
    shuffled = np.lexsort((splitmix64(drawn[by_length]), stratum))
    step = np.arange(len(lengths)) - bounds[stratum]
    return by_length[shuffled[np.lexsort((stratum, step))]].astype(np.int64)


def most_tokens_of_a_step(lengths: np.ndarray, batch_size: int) -> int:
    """Return a number of tokens that no step of ``balanced_order`` exceeds, whatever its seed and epoch."""
    by_length = np.sort(lengths)
    bounds = _strata(len(lengths), batch_size)
    is_filled = np.diff(bounds) > 0
    return int(by_length[bounds[1:][is_filled] - 1].sum())


def _strata(num_features: int, batch_size: int) -> np.ndarray:
    """Return the bounds of ``batch_size`` strata; each has one feature per full step, some one more for the last."""
    return np.arange(batch_size + 1, dtype=np.int64) * num_features // batch_size
