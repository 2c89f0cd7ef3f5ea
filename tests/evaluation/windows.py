"""Made-up feature windows of realistic shape, for the tests of the answers and for their benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from podsquad.data.arrow import Ragged


@dataclass(frozen=True)
class FakeWindows:
    """What ``podsquad.data.arrow.Features`` offers to the answers, from arrays."""

    question_index: np.ndarray
    context_start: np.ndarray
    context_length: np.ndarray
    input_ids: Ragged
    char_starts: Ragged
    char_ends: Ragged

    def __len__(self) -> int:
        return len(self.question_index)

    def offset_mappings(self) -> list[list[tuple[int, int] | None]]:
        """Per window and token the characters in the context, None outside of it, as run_qa.py keeps them."""
        mappings = []
        for row in range(len(self)):
            mapping: list[tuple[int, int] | None] = [None] * len(self.input_ids[row])
            begin = int(self.context_start[row])
            spans = zip(self.char_starts[row].tolist(), self.char_ends[row].tolist(), strict=True)
            for place, span in enumerate(spans):
                mapping[begin + place] = span
            mappings.append(mapping)
        return mappings

    def windows_of_question(self, num_questions: int) -> list[list[int]]:
        """Per question the rows of its windows."""
        groups: list[list[int]] = [[] for _ in range(num_questions)]
        for row, question in enumerate(self.question_index.tolist()):
            groups[question].append(row)
        return groups


def make_windows(
    num_questions: int,
    seed: int,
    *,
    max_length: int = 384,
    stride: int = 128,
    mean_context_tokens: float = 150.0,
    skip_share: float = 0.0,
) -> tuple[FakeWindows, list[str]]:
    """Return windows over random contexts of tokens with 1 to 8 characters, and the contexts.

    Context lengths are log-normal, as SQuAD's are; ``skip_share`` of the questions get no window at all.
    """
    random = np.random.default_rng(seed)
    rows: list[tuple[int, int, int]] = []
    starts, ends, lengths, contexts = [], [], [], []
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))
    for question in range(num_questions):
        num_tokens = max(1, int(random.lognormal(np.log(mean_context_tokens), 0.45)))
        edges = np.concatenate([[0], np.cumsum(random.integers(1, 9, num_tokens))])
        contexts.append("".join(random.choice(letters, int(edges[-1]))))
        if random.random() < skip_share:
            continue
        num_question_tokens = int(random.integers(5, 25))
        room = max_length - num_question_tokens - 4
        first = 0
        while True:
            last = min(num_tokens, first + room)
            rows.append((question, num_question_tokens + 3, last - first))
            lengths.append(num_question_tokens + 4 + last - first)
            starts.append(edges[first:last])
            ends.append(edges[first + 1 : last + 1])
            if last == num_tokens:
                break
            first += room - stride
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return (
        FakeWindows(
            columns[:, 0].astype(np.int32),
            columns[:, 1].astype(np.int16),
            columns[:, 2].astype(np.int16),
            _ragged([np.zeros(length, np.int32) for length in lengths]),
            _ragged(starts),
            _ragged(ends),
        ),
        contexts,
    )


def make_logits(
    windows: FakeWindows,
    seed: int,
    *,
    decimals: int | None = None,
    peaks: bool = False,
    like: np.ndarray | None = None,
) -> np.ndarray:
    """Return random float32 logits for every token; few ``decimals`` make many of them equal.

    ``peaks`` raises a few neighbouring context tokens of each window, as a trained model does; ``like`` puts
    the peaks up to three tokens behind those of other logits, as the ends of answers stand behind their
    starts.
    """
    random = np.random.default_rng(seed)
    offsets = windows.input_ids.offsets
    logits = random.normal(-4.0 if peaks else 0.0, 1.0 if peaks else 3.0, int(offsets[-1]))
    if peaks:
        for row in range(len(windows)):
            begin = int(offsets[row]) + int(windows.context_start[row])
            length = int(windows.context_length[row])
            place = int(random.integers(length))
            if like is not None:
                place = min(length - 1, int(like[begin : begin + length].argmax()) + int(random.integers(4)))
            distance = np.abs(np.arange(length) - place)
            logits[begin : begin + length] += 8.0 * np.exp(-distance / 6.0)
    if decimals is not None:
        logits = np.round(logits, decimals)
    return logits.astype(np.float32)


def _ragged(parts: list[np.ndarray]) -> Ragged:
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    flat = np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
    return Ragged(flat, offsets)
