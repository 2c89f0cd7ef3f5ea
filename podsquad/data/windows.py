"""Windows over long contexts: arithmetic on whole arrays, without text or tokenizer.

A question of ``Q`` tokens, the special tokens of a pair (``S``) and a piece of the context fill a window of at
most ``max_length`` tokens. So ``room = max_length - Q - S`` context tokens fit; neighbours share ``stride`` of
them. A context of ``L`` tokens takes 1 window if ``L <= room``, else ``1 + ceil((L - room) / (room - stride))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """The windows of several questions, in the order of the questions; three int64 arrays of one length."""

    question: Integers  # which of the questions
    first: Integers  # first context token of the window, counted from the context's first token
    length: Integers  # context tokens in the window

    def __len__(self) -> int:
        return len(self.question)


def without_room(context_lengths: Integers, rooms: Integers, stride: int) -> Integers:
    """Return the questions (int64 indices) that leave no room to advance through a context too long for one window.

    Hugging Face's tokenizers refuse exactly these.
    """
    return np.flatnonzero((context_lengths > rooms) & (rooms <= max(stride, 0)))


def count_windows(context_lengths: Integers, rooms: Integers, stride: int) -> Integers:
    """Return the number of windows of each question, int64; at least 1, also for an empty context.

    ``context_lengths`` and ``rooms`` are in tokens, one per question. ``without_room`` must be empty.
    """
    steps = np.maximum(rooms - stride, 1)
    further = -(-(context_lengths - rooms) // steps)
    return np.where(context_lengths <= rooms, 1, 1 + further)


def place_windows(context_lengths: Integers, rooms: Integers, stride: int) -> Windows:
    """Return where each window lies. The last window of a context ends with it and may be shorter than the rest."""
    counts = count_windows(context_lengths, rooms, stride)
    question = np.repeat(np.arange(len(counts)), counts)
    first = ragged_arange(counts) * (rooms - stride)[question]
    return Windows(question, first, np.minimum(rooms[question], context_lengths[question] - first))


def ragged_arange(counts: Integers) -> Integers:
    """Return ``0 .. counts[0]-1, 0 .. counts[1]-1, ...`` as one int64 array."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def ragged_indices(starts: Integers, counts: Integers) -> Integers:
    """Return the indices that gather the slices ``[starts[i], starts[i] + counts[i])`` end to end, int64."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)


def offsets_of(counts: Integers) -> Integers:
    """Return the offsets of rows of ``counts`` items end to end, int64 of shape (len(counts) + 1,)."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
