"""The arithmetic of the span search: sort keys that carry a score and a place, and tables of starts and ends.

A key is a uint64: its upper half a float32 in an order-preserving form, its lower half a place, or a turn
that counts down. No two keys of a row are equal, so sorting them needs no rule for ties; 0 is the key of
nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]

_LOW = np.uint64(32)
_LOW_MASK = np.uint64(2**32 - 1)
_SIGN = np.int32(-(2**31))
_NOWHERE = 2**30  # past every token


def rank_tokens(logits: Floats, begins: Integers, lengths: Integers, best: int) -> Keys:
    """Return for each window its ``best`` highest tokens as sort keys, best first; 0 where there are fewer.

    A key holds the logit in its upper half, in an order-preserving form, and the token's place in its lower
    half: no two are equal, and among equal logits the later token is the higher.
    """
    width = max(int(lengths.max()), best)
    places = np.arange(width, dtype=np.int64)
    inside = places < lengths[:, None]
    gathered = logits[np.minimum(begins[:, None] + places, len(logits) - 1)]
    keys = (_to_sortable(gathered) << _LOW) | places.astype(np.uint64)
    keys[~inside] = 0
    if width > best:
        keys = np.partition(keys, width - best, axis=1)[:, width - best :]
    keys.sort(axis=1)
    return keys[:, ::-1]


def best_pairs(
    starts: Keys,
    ends: Keys,
    first_of_context: Integers,
    num_context: Integers,
    max_answer_tokens: int,
    num_kept: int,
) -> tuple[Keys, NDArray[np.int32]]:
    """Return the keys (upper half: score) of each window's best pairs, best first, and their two tokens."""
    num_rows, best = starts.shape
    start_tokens = (starts & _LOW_MASK).astype(np.int32)
    end_tokens = (ends & _LOW_MASK).astype(np.int32)
    first, past = first_of_context.astype(np.int32), (first_of_context + num_context).astype(np.int32)
    # A start outside the context gets no end; an end outside of it lies before every start. Key 0 is no
    # token.
    start_tokens[(start_tokens < first[:, None]) | (start_tokens >= past[:, None]) | (starts == 0)] = _NOWHERE
    end_tokens[(end_tokens < first[:, None]) | (end_tokens >= past[:, None]) | (ends == 0)] = -1
    spans = end_tokens[:, None, :] - start_tokens[:, :, None]
    # Seen as unsigned, a negative span is a huge one: one comparison does for both bounds.
    fits = (spans.view(np.uint32) < np.uint32(min(max_answer_tokens, _NOWHERE))).reshape(num_rows, -1)
    sums = _to_floats(starts >> _LOW)[:, :, None] + _to_floats(ends >> _LOW)[:, None, :]
    # Among equal scores the pair that the peer's loops meet first is the highest.
    last = best * best - 1
    turn = np.arange(last, -1, -1, dtype=np.uint64)
    keys = (_to_sortable(sums.reshape(num_rows, -1)) << _LOW) | turn
    keys *= fits
    if keys.shape[1] > num_kept:
        keys = np.partition(keys, keys.shape[1] - num_kept, axis=1)[:, keys.shape[1] - num_kept :]
    keys.sort(axis=1)
    keys = keys[:, ::-1]
    pair = last - (keys & _LOW_MASK).astype(np.int64)
    rows = np.arange(num_rows)[:, None]
    tokens = np.stack([start_tokens[rows, pair // best], end_tokens[rows, pair % best]], axis=-1)
    return keys, tokens


def merge_windows(keys: Keys, question_index: Integers, num_questions: int, num_best: int) -> tuple[Keys, Integers]:
    """Return the keys of each question's best pairs over all windows, and their places in flat ``keys``."""
    per_window = keys.shape[1]
    num_windows = np.bincount(question_index, minlength=num_questions)
    first_window = np.zeros(num_questions, np.int64)
    np.cumsum(num_windows[:-1], out=first_window[1:])
    merged = np.zeros((num_questions, num_best), np.uint64)
    chosen = np.zeros((num_questions, num_best), np.int64)
    for count in np.unique(num_windows[num_windows > 0]):
        questions = np.flatnonzero(num_windows == count)
        size = int(count) * per_window
        # Within a window pairs are sorted already: their place is their turn, windows one after the other.
        places = first_window[questions][:, None] * per_window + np.arange(size)
        group = keys.reshape(-1)[places]
        if count > 1:
            turn = np.arange(size - 1, -1, -1, dtype=np.uint64)
            ranked = np.where(group > 0, (group & ~_LOW_MASK) | turn, np.uint64(0))
            ranked.sort(axis=1)
            ranked = ranked[:, ::-1][:, :num_best]
            places = np.take_along_axis(places, size - 1 - (ranked & _LOW_MASK).astype(np.int64), axis=1)
            group = ranked
        merged[questions, : group.shape[1]] = group
        chosen[questions, : group.shape[1]] = places
    return merged, chosen


def scores_of(keys: Keys) -> Floats:
    """Return the float32 in each key's upper half."""
    return _to_floats(keys >> _LOW)


def _to_sortable(values: Floats) -> Keys:
    """Map float32 to integers of the same order, none of them 0 (finite values; -0.0 and 0.0 are equal)."""
    bits = (values + np.float32(0)).view(np.int32)
    # Negative numbers: flip all bits; others: set the sign bit.
    bits ^= (bits >> 31) | _SIGN
    return bits.view(np.uint32).astype(np.uint64)


def _to_floats(keys: Keys) -> Floats:
    """Undo ``_to_sortable``."""
    bits = keys.astype(np.uint32).view(np.int32)
    bits ^= (~bits >> 31) | _SIGN
    return bits.view(np.float32)
