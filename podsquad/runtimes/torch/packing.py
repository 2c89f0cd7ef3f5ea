"""Sequences as a model takes them: packed end to end in one buffer, or padded to rows of one length.

Both hold the same sequences in the same order and give the same logits per token; ``padded`` is stock Hugging Face
and the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from podsquad.data.arrow import Features
from podsquad.runtimes.torch.static import StaticSize

# Attention runs over groups of neighbours that differ by at most this many tokens: fewer calls cost more padding.
# On two CPU cores 8, 16, 32 and "all" were within 10 % of each other at 110 +- 25 tokens and 128 wide, 32 the best.
GROUP_SPREAD_TOKENS = 32
# Micro-batches are filled up to such a number of tokens: libraries prepare, and keep, a program for each size they
# meet. With every size its own, a step of 7 sizes made a process 45 MB larger, and its memory fell to pieces. Filler is
# computed like any token: of 64 sequences of SQuAD in pieces of 1,024 tokens it is 6.5 % at 128, 3.5 % at 64, 1.7 % at
# 32, which makes 3, 5 and 10 sizes; a 384-wide model took 110 MB more at 32 than at 64.
FILL_TOKENS = 64


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences that attention takes at once, padded to their longest where they differ.

    ``first`` and ``past`` bound their tokens in the buffer. ``tokens`` (num_sequences * longest,) is the token of
    each padded place, relative to ``first``; ``places`` (past - first,) the place of each token; ``mask``
    (num_sequences, 1, 1, longest) is true where a token stands. All three are None where the lengths are equal.
    """

    first: int
    past: int
    num_sequences: int
    longest: int
    tokens: Tensor | None = None
    places: Tensor | None = None
    mask: Tensor | None = None

    def to(self, device: torch.device) -> Group:
        """Return the same on ``device``."""
        tokens, places, mask = (_move(tensor, device) for tensor in (self.tokens, self.places, self.mask))
        return replace(self, tokens=tokens, places=places, mask=mask)


@dataclass(frozen=True)
class Packing:
    """Where the sequences of a packed buffer lie; ``boundaries`` (num_sequences + 1,) int32 are cu_seqlens.

    ``groups`` is empty where flash attention takes the buffer, which needs none, or a compiled program, which has no
    room for what differs from step to step.
    """

    groups: tuple[Group, ...]
    boundaries: Tensor
    longest: int


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass takes; all ids int64.

    Packed: ``input_ids`` is (1, num_tokens) with ``packing``; padded: (num_sequences, longest) with
    ``attention_mask``. ``row_tokens`` (num_sequences, longest) is the place of each token in the flattened logits
    and ``row_mask`` tells which of them exist: the rows a softmax is taken over. Of a static size, there are rows
    for sequences that are not there: of one token, whose loss for label 0 is 0, and so is its gradient.
    """

    input_ids: Tensor
    position_ids: Tensor | None
    token_type_ids: Tensor | None
    attention_mask: Tensor | None
    packing: Packing | None
    row_tokens: Tensor
    row_mask: Tensor
    lengths: np.ndarray

    def to(self, device: torch.device) -> MicroBatch:
        """Return the same on ``device``."""
        if device.type == "cpu":
            return self
        packing = self.packing
        if packing is not None:
            groups = tuple(group.to(device) for group in packing.groups)
            packing = Packing(groups, to_device(packing.boundaries, device), packing.longest)
        names = ("input_ids", "position_ids", "token_type_ids", "attention_mask", "row_tokens", "row_mask")
        moved: dict[str, Any] = {name: _move(getattr(self, name), device) for name in names}
        return replace(self, packing=packing, **moved)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on ``device``. A GPU is not waited for: the copy is queued, from memory that stays in place."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def take_sequences(features: Features, rows: np.ndarray) -> list[np.ndarray]:
    """Return the token ids of the features in ``rows``, in that order."""
    ids = features.input_ids
    return [ids[int(row)] for row in rows]


def pack(
    sequences: Sequence[np.ndarray],
    *,
    first_position: int,
    type_starts: np.ndarray | None = None,
    spread_tokens: int = GROUP_SPREAD_TOKENS,
    size: StaticSize | None = None,
    fill_tokens: int = 1,
    grouped: bool = True,
    filler_id: int = 0,
) -> MicroBatch:
    """Put sequences end to end.

    ``first_position`` is the position id of each sequence's first token (RoBERTa's is 2, BERT's 0). ``type_starts``:
    from which token of each sequence on the token type is 1; None: the model takes none. Neighbours should be of
    similar length. ``size``: fill up to it with sequences of the token ``filler_id``; they must fit in. Without one,
    they are filled up to a multiple of ``fill_tokens``. No row holds filler. ``grouped``: make groups for attention.
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    if size is not None:
        every_length = np.concatenate([lengths, _filler(lengths, size.tokens, size.longest)])
        every_length = np.append(every_length, np.zeros(size.most_sequences - len(every_length), np.int64))
    else:
        whole = -(-int(lengths.sum()) // fill_tokens) * fill_tokens
        every_length = np.concatenate([lengths, _filler(lengths, whole, int(lengths.max()))])
    boundaries = np.zeros(len(every_length) + 1, np.int64)
    np.cumsum(every_length, out=boundaries[1:])
    within = np.arange(boundaries[-1]) - np.repeat(boundaries[:-1], every_length)
    ids = np.full(boundaries[-1], filler_id, np.int64)
    ids[: lengths.sum()] = np.concatenate(sequences)
    types = None
    if type_starts is not None:
        types = np.zeros(len(ids), np.int64)
        types[: lengths.sum()] = within[: lengths.sum()] >= np.repeat(type_starts, lengths)
    longest, num_rows = (int(lengths.max()), len(lengths)) if size is None else (size.longest, size.sequences)
    columns = np.arange(longest)
    row_lengths, row_starts = np.ones(num_rows, np.int64), np.zeros(num_rows, np.int64)
    row_lengths[: len(lengths)], row_starts[: len(lengths)] = lengths, boundaries[: len(lengths)]
    mask = columns < row_lengths[:, None]
    groups = group_sequences(every_length, spread_tokens) if grouped and size is None else ()
    return MicroBatch(
        input_ids=torch.from_numpy(ids)[None],
        position_ids=torch.from_numpy(within + first_position)[None],
        token_type_ids=None if types is None else torch.from_numpy(types)[None],
        attention_mask=None,
        packing=Packing(groups, torch.from_numpy(boundaries.astype(np.int32)), longest),
        # Places past a sequence's end point at its first token; the mask hides what stands there.
        row_tokens=torch.from_numpy(row_starts[:, None] + np.where(mask, columns, 0)),
        row_mask=torch.from_numpy(mask),
        lengths=lengths,
    )


def pad(sequences: Sequence[np.ndarray], *, pad_token_id: int, type_starts: np.ndarray | None = None) -> MicroBatch:
    """Put sequences into rows of the longest one's length, as stock Hugging Face models take them."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    longest = int(lengths.max())
    columns = np.arange(longest)
    mask = columns < lengths[:, None]
    ids = np.full(mask.shape, pad_token_id, np.int64)
    ids[mask] = np.concatenate(sequences)
    types = None if type_starts is None else (columns >= type_starts[:, None]) & mask
    return MicroBatch(
        input_ids=torch.from_numpy(ids),
        position_ids=None,
        token_type_ids=None if types is None else torch.from_numpy(types.astype(np.int64)),
        attention_mask=torch.from_numpy(mask.astype(np.int64)),
        packing=None,
        row_tokens=torch.from_numpy(np.arange(mask.size).reshape(mask.shape)),
        row_mask=torch.from_numpy(mask),
        lengths=lengths,
    )


def group_sequences(lengths: np.ndarray, spread_tokens: int = GROUP_SPREAD_TOKENS) -> tuple[Group, ...]:
    """Return groups that cover a buffer of sequences of these lengths in order; those of no token are left out."""
    lengths = lengths[lengths > 0]
    boundaries = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    groups = []
    first = 0
    while first < len(lengths):
        past, shortest, longest = first, int(lengths[first]), int(lengths[first])
        while past < len(lengths):
            low, high = min(shortest, int(lengths[past])), max(longest, int(lengths[past]))
            if high - low > spread_tokens:
                break
            past, shortest, longest = past + 1, low, high
        groups.append(_make_group(lengths[first:past], int(boundaries[first]), int(boundaries[past]), longest))
        first = past
    return tuple(groups)


def _filler(lengths: np.ndarray, tokens: int, longest: int) -> np.ndarray:
    """Return the lengths of the sequences, none above ``longest``, that fill up to so many tokens."""
    full, rest = divmod(tokens - int(lengths.sum()), longest)
    return np.array([longest] * full + [rest] * bool(rest), np.int64)


def _move(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else to_device(tensor, device)


def _make_group(lengths: np.ndarray, first: int, past: int, longest: int) -> Group:
    count = len(lengths)
    if count * longest == past - first:
        return Group(first, past, count, longest)
    mask = np.arange(longest) < lengths[:, None]
    places = np.flatnonzero(mask)
    tokens = np.zeros(count * longest, np.int64)
    tokens[places] = np.arange(past - first)
    return Group(
        first,
        past,
        count,
        longest,
        tokens=torch.from_numpy(tokens),
        places=torch.from_numpy(places),
        mask=torch.from_numpy(mask[:, None, None, :]),
    )
