"""Token labels of answers, as Hugging Face's run_qa.py sets them, for many windows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from podsquad.data.windows import Flags, Integers, Tokens


@dataclass(frozen=True)
class Labels:
    """Where the answers lie in their windows; arrays of one length, one item per window.

    ``start`` and ``end`` (int64) count from the window's first context token and mean nothing where ``holds`` is
    False. ``starts_in_last``: the answer starts in the window's last context token.
    """

    holds: Flags
    start: Integers
    end: Integers
    starts_in_last: Flags


def label_windows(
    char_starts: Tokens, char_ends: Tokens, offsets: Integers, answer_starts: Integers, answer_ends: Integers
) -> Labels:
    """Return the labels of one answer per window.

    Window ``i`` shows the context tokens ``offsets[i]`` to ``offsets[i + 1]`` of ``char_starts`` and ``char_ends``;
    its answer has the characters ``answer_starts[i]`` up to, not including, ``answer_ends[i]`` (a negative start: no
    answer). A window holds the answer when its first token starts at or before it and its last token ends at or after
    it. The label's start is then the last token before which no token starts behind the answer's first character, its
    end the first token from which on every token ends at or behind the answer's last one: in offsets that never
    decrease, the tokens that hold these characters. Source: the loops of run_qa.py's ``prepare_train_features``.
    """
    first, length = offsets[:-1], np.diff(offsets)
    holds = length > 0
    some = np.flatnonzero(holds)
    begins_before = char_starts[first[some]] <= answer_starts[some]
    holds[some] = begins_before & (char_ends[offsets[some + 1] - 1] >= answer_ends[some])
    start, end = np.zeros(len(length), np.int64), np.zeros(len(length), np.int64)
    held = np.flatnonzero(holds)
    start[held] = _first_true(char_starts, first[held], length[held], answer_starts[held] + 1) - 1
    end[held] = _first_true(char_ends, first[held], length[held], answer_ends[held])
    for window in np.intersect1d(held, _unsorted(char_starts, char_ends, offsets)).tolist():
        run = slice(offsets[window], offsets[window + 1])
        start[window], end[window] = _walk(
            char_starts[run].tolist(), char_ends[run].tolist(), int(answer_starts[window]), int(answer_ends[window])
        )
    return Labels(holds, start, end, holds & (start == length - 1))


def _first_true(values: Tokens, first: Integers, count: Integers, wanted: Integers) -> Integers:
    """Return in each run of ``values`` the position of the first one ``>= wanted`` by bisection, all runs at once."""
    low, high = np.zeros_like(count), count.copy()
    for _ in range(int(count.max(initial=0)).bit_length()):
        middle = (low + high) // 2
        # A finished run (low == high) may look one past its end, where the answer no longer matters.
        reached = values[np.minimum(first + middle, len(values) - 1)] >= wanted
        high = np.where(reached, middle, high)
        low = np.where(reached | (low == high), low, middle + 1)
    return low


def _unsorted(char_starts: Tokens, char_ends: Tokens, offsets: Integers) -> Integers:
    """Return the windows in which an offset is smaller than one before it: some normalizers reorder characters."""
    falls = np.flatnonzero((char_starts[1:] < char_starts[:-1]) | (char_ends[1:] < char_ends[:-1])) + 1
    window = np.searchsorted(offsets, falls, side="right") - 1
    return np.unique(window[offsets[window] != falls])  # a fall between two windows is none


def _walk(starts: list[int], ends: list[int], answer_start: int, answer_end: int) -> tuple[int, int]:
    """Find start and end in one window by run_qa.py's loops."""
    low, high = 0, len(ends) - 1
    while low < len(starts) and starts[low] <= answer_start:
        low += 1
    while high >= 0 and ends[high] >= answer_end:
        high -= 1
    return low - 1, high + 1
