"""The one size that a compiled program takes, and how sequences are dealt into micro-batches of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from podsquad.errors import InternalError
from podsquad.runtimes.balance import most_tokens_of_a_step
from podsquad.runtimes.batch_plan import BatchPlan

_MULTIPLE_TOKENS = 64  # matrix products like numbers of rows that tiles divide


@dataclass(frozen=True)
class StaticSize:
    """The shape of every compiled micro-batch.

    ``tokens`` lie in the buffer; what the sequences leave is filled with sequences of filler that nobody looks at.
    ``sequences`` is the most that are looked at, ``longest`` the most tokens that one of them, or of the filler, has.
    """

    tokens: int
    sequences: int
    longest: int

    @property
    def most_sequences(self) -> int:
        """Sequences that the boundaries of attention tell of: the real ones, and filler for a whole buffer."""
        return self.sequences + -(-self.tokens // self.longest)

    def as_json(self) -> dict[str, int]:
        """Return the size as JSON values."""
        return asdict(self)


def decide_static_size(
    batches: BatchPlan, lengths: np.ndarray, processes: int, *, balanced: bool
) -> tuple[StaticSize, str]:
    """Return the size of a compiled micro-batch, and why; ``lengths`` are the tokens of all training features."""
    longest, most = batches.longest_tokens, batches.micro_batch_tokens
    if not balanced:
        size = StaticSize(_round_up(max(most, longest)), batches.batch_size, longest)
        return size, "training.micro_batch_tokens says so; without training.balanced steps differ, and more is filled"
    step = most_tokens_of_a_step(lengths, batches.batch_size)
    pieces = processes * max(1, -(-step // (processes * most)))
    # Dealt by length, to and fro, the pieces of a step differ by less than its longest sequence.
    tokens = step if pieces == 1 else -(-step // pieces) + longest
    size = StaticSize(_round_up(max(tokens, longest)), -(-batches.batch_size // pieces), longest)
    mean = batches.num_tokens / batches.num_features * batches.batch_size / pieces
    return size, f"no step has more than {step:,} tokens; the mean fills {mean / size.tokens:.1%}"


def deal(lengths: np.ndarray, size: StaticSize) -> list[np.ndarray]:
    """Return the sequences of as few micro-batches as hold them: positions in ``lengths``, int64.

    Every position occurs once. Raises InternalError for a sequence that is too long.
    """
    if len(lengths) and int(lengths.max()) > size.longest:
        raise InternalError(
            f"a sequence of {int(lengths.max())} tokens is longer than the program's {size.longest}",
            why="the program was sized for other features than these",
            do="run again with --refresh compile",
        )
    by_length = np.argsort(lengths, kind="stable").astype(np.int64)
    count = max(-(-int(lengths.sum()) // size.tokens), -(-len(lengths) // size.sequences))
    while True:
        turn, within = np.divmod(np.arange(len(lengths)), max(count, 1))
        owner = np.where(turn % 2 == 0, within, count - 1 - within)
        pieces = [by_length[owner == piece] for piece in range(count)]
        if all(len(piece) <= size.sequences and lengths[piece].sum() <= size.tokens for piece in pieces):
            return pieces
        count += 1


def static_size_of(plan: Mapping[str, Any]) -> StaticSize | None:
    """Return what an executable's plan says; None where nothing is compiled."""
    value = plan["static_size"]["value"]
    return None if value is None else StaticSize(**value)


def _round_up(tokens: int) -> int:
    return -(-tokens // _MULTIPLE_TOKENS) * _MULTIPLE_TOKENS
