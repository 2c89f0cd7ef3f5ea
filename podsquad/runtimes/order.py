"""The order of samples, and the running hash of what was consumed.

Both are pure functions: a training that was killed goes on with the very features that an undisturbed one would
have taken, and can prove that it did. Needs numpy alone and runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import hashlib

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF
LEDGER_START = hashlib.sha256(b"podsquad ledger 2").hexdigest()


def splitmix64(values: np.ndarray) -> np.ndarray:
    """Return the SplitMix64 hash of each uint64 (Steele, Lea and Flood 2014; the constants are theirs).

    A bijection of uint64: different inputs never share an output.
    """
    with np.errstate(over="ignore"):
        mixed = values.astype(np.uint64) + np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def mix(seed: int, number: int) -> int:
    """Return 64 well mixed bits of a seed and a number, both taken modulo 2**64."""
    hashed = int(splitmix64(np.array([seed & _MASK], np.uint64))[0])
    return int(splitmix64(np.array([(hashed + number) & _MASK], np.uint64))[0])


def epoch_order(seed: int, epoch: int, num_features: int) -> np.ndarray:
    """Return the features of an epoch in the order of their use: a permutation of 0..num_features-1, int64.

    Position ``p`` holds the feature whose hash of (seed, epoch, feature) is the p-th smallest: the same on every
    machine and for every version of numpy.
    """
    start = np.uint64(mix(seed, epoch))
    with np.errstate(over="ignore"):
        keys = splitmix64(np.arange(num_features, dtype=np.uint64) + start)
    return np.argsort(keys, kind="stable").astype(np.int64)


def step_features(order: np.ndarray, step_of_epoch: int, batch_size: int) -> np.ndarray:
    """Return the features of one step (counted from 0) of an epoch; the last step may hold fewer, int64."""
    return order[step_of_epoch * batch_size : (step_of_epoch + 1) * batch_size]


class Ledger:
    """A running SHA-256 over the features and the questions' ids of every step, in order."""

    def __init__(self, digest: str = LEDGER_START) -> None:
        self.digest = digest

    def enter(self, features: np.ndarray, questions: np.ndarray) -> None:
        """Add one step: the rows of its features, any integer dtype, and ``hash_id`` of their questions, uint64."""
        entry = hashlib.sha256(bytes.fromhex(self.digest))
        entry.update(len(features).to_bytes(8, "little"))
        entry.update(np.ascontiguousarray(features, "<i8").tobytes())
        entry.update(np.ascontiguousarray(questions, "<u8").tobytes())
        self.digest = entry.hexdigest()
