"""Tokenized texts as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from podsquad.data.windows import Integers, Tokens, offsets_of


@dataclass(frozen=True)
class Encoded:
    """Texts without special tokens; text ``i`` has the tokens from ``offsets[i]`` up to ``offsets[i + 1]``.

    ``ids`` is int32; ``char_starts`` and ``char_ends`` are int32 offsets in the text in characters, the end one past
    the last, or None where they were not asked for; ``offsets`` is int64 of shape (num_texts + 1,).
    """

    ids: Tokens
    char_starts: Tokens | None
    char_ends: Tokens | None
    offsets: Integers

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Integers:
        """Tokens of each text, int64."""
        return np.diff(self.offsets)

    @classmethod
    def empty(cls) -> Encoded:
        """Return no texts at all."""
        none = np.zeros(0, np.int32)
        return cls(none, none, none, np.zeros(1, np.int64))


def join_encoded(parts: Sequence[Encoded], *, with_offsets: bool = True) -> Encoded:
    """Return the texts of all parts, in order. ``with_offsets`` False drops the parts' character offsets."""
    if not parts:
        return Encoded.empty()
    ids = np.concatenate([part.ids for part in parts])
    offsets = offsets_of(np.concatenate([part.lengths for part in parts]))
    if not with_offsets:
        return Encoded(ids, None, None, offsets)
    starts = [part.char_starts for part in parts if part.char_starts is not None]
    ends = [part.char_ends for part in parts if part.char_ends is not None]
    return Encoded(ids, np.concatenate(starts), np.concatenate(ends), offsets)
