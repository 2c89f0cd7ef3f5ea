"""The ways from text to windows, and which of them a tokenizer allows.

*Apart*: each context and each question is tokenized once and windows are put together from the tokens; byte-level
BPEs by ByteLevelEncoder, other tokenizers by the tokenizers library. *Pairs*: the tokenizer is called on every
pair, as run_qa.py does. Apart is taken only where it gives the same, by the tokenizer's construction and on a sample.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from podsquad.data.backend import LibraryEncoder, plain_backend
from podsquad.data.byte_level import ByteLevelEncoder, why_not_byte_level
from podsquad.data.encoded import Encoded, join_encoded
from podsquad.data.pairs import Frame, Rows, encode_pairs, put_together, why_not_apart
from podsquad.data.questions import QuestionTable
from podsquad.data.windows import Integers, without_room
from podsquad.data.workers import Workers, cut
from podsquad.errors import DataError

# Questions per split on which a route is held against the tokenizer's own pairs: one in so many, but not fewer than the
# least. A pair through the tokenizer takes 20 times as long as one through a route.
_ONE_IN, _LEAST_SAMPLE, _MOST_SAMPLE = 512, 4, 24


class Encoder(Protocol):
    """Encodes texts one by one, without special tokens; serves several threads."""

    def encode(self, texts: Sequence[str], *, with_offsets: bool = True) -> Encoded: ...


class Route(Protocol):
    """A way from a split's questions to their windows. ``prepare`` comes first, then ``rows`` from any thread."""

    def prepare(self, table: QuestionTable, workers: Workers, done: Callable[[int], None]) -> None:
        """Take on a split; ``done`` is told the contexts that are dealt with."""

    def rows(self, part: slice) -> Rows:
        """Return the windows of the split's questions in ``part``, numbered from its start. Raises DataError."""


class Apart:
    """Tokenize each context once, each question once, and put windows together."""

    def __init__(self, encoder: Encoder, frame: Frame, max_length: int, stride: int) -> None:
        self._encoder, self._frame, self._max_length, self._stride = encoder, frame, max_length, stride
        self._table: QuestionTable
        self._contexts: Encoded

    def prepare(self, table: QuestionTable, workers: Workers, done: Callable[[int], None]) -> None:
        self._table, self._contexts = table, Encoded.empty()  # the last split's contexts go first
        parts, encoded = cut(table.context_bytes), []
        for part, texts in zip(
            parts, workers.map(lambda part: self._encoder.encode(table.contexts(part)), parts), strict=True
        ):
            encoded.append(texts)
            done(part.stop - part.start)
        self._contexts = join_encoded(encoded)

    def rows(self, part: slice) -> Rows:
        places = np.arange(part.start, part.stop)
        return self._rows(self._table, places, self._table.questions(part), self._contexts, self._table.context[part])

    def rows_alone(self, table: QuestionTable, places: Integers) -> Rows:
        """Return the windows of some questions of any split, without ``prepare``."""
        contexts = self._encoder.encode([table.context_of(place) for place in places.tolist()])
        questions = [table.question(place) for place in places.tolist()]
        return self._rows(table, places, questions, contexts, np.arange(len(places)))

    def _rows(
        self, table: QuestionTable, places: Integers, texts: Sequence[str], contexts: Encoded, context: Integers
    ) -> Rows:
        questions = self._encoder.encode(texts, with_offsets=False)
        rooms = self._max_length - len(self._frame) - questions.lengths
        _refuse_without_room(table, places, contexts.lengths[context], rooms, self._stride)
        return put_together(self._frame, questions, contexts, context, self._max_length, self._stride)


class Pairs:
    """Call the tokenizer on every pair."""

    def __init__(self, tokenizer: Any, frame: Frame, max_length: int, stride: int) -> None:
        self._tokenizer, self._frame, self._max_length, self._stride = tokenizer, frame, max_length, stride
        self._encoder = LibraryEncoder(plain_backend(copy.deepcopy(tokenizer)))  # counts tokens
        self._table: QuestionTable
        # Sets the truncation, so that the threads' calls find it as they want it and change nothing.
        encode_pairs(tokenizer, frame, ["question"], ["context"], max_length, stride)

    def prepare(self, table: QuestionTable, workers: Workers, done: Callable[[int], None]) -> None:
        self._table = table
        done(table.num_contexts)

    def rows(self, part: slice) -> Rows:
        places = np.arange(part.start, part.stop)
        questions = self._table.questions(part)
        contexts = [self._table.context_of(place) for place in places.tolist()]
        rooms = self._max_length - len(self._frame) - self._encoder.encode(questions, with_offsets=False).lengths
        tight = np.flatnonzero(rooms <= self._stride)  # elsewhere the context's length does not matter
        lengths = self._encoder.encode([contexts[place] for place in tight.tolist()], with_offsets=False).lengths
        _refuse_without_room(self._table, places[tight], lengths, rooms[tight], self._stride)
        return encode_pairs(self._tokenizer, self._frame, questions, contexts, self._max_length, self._stride)


def choose_route(
    tokenizer: Any,
    frame: Frame,
    max_length: int,
    stride: int,
    tables: Sequence[QuestionTable],
    log: Callable[[str], None],
) -> Route:
    """Return the fastest route that gives what the tokenizer's own pairs give, and tell ``log`` which and why.

    Raises DataError for a sampled question that leaves no room.
    """
    reason = why_not_apart(tokenizer)
    if not reason:
        backend = plain_backend(tokenizer)
        slow = why_not_byte_level(backend)
        encoder: Encoder = LibraryEncoder(backend) if slow else ByteLevelEncoder(backend)
        apart = Apart(encoder, frame, max_length, stride)
        if all(_agree(apart, tokenizer, frame, max_length, stride, table) for table in tables):
            log("each context is tokenized once, " + (f"by the tokenizers library: {slow}" if slow else "as arrays"))
            return apart
        reason = "tokenizing apart gives something else on a sample of the questions"
    log(f"every question is tokenized together with its context, which is slow: {reason}")
    return Pairs(tokenizer, frame, max_length, stride)


def _agree(apart: Apart, tokenizer: Any, frame: Frame, max_length: int, stride: int, table: QuestionTable) -> bool:
    """Compare with the tokenizer's own pairs: questions all over the split and those about the longest contexts."""
    sample = min(max(len(table) // _ONE_IN, _LEAST_SAMPLE), _MOST_SAMPLE)
    longest = np.argsort(-table.context_bytes[table.context], kind="stable")[: -(-sample // 4)]
    spread = np.linspace(0, len(table) - 1, min(len(table), sample - len(longest))).astype(np.int64)
    places = np.unique(np.concatenate([longest, spread]))
    if not len(places):
        return True
    mine = apart.rows_alone(table, places)  # first: it refuses questions on which the tokenizer would panic
    questions = [table.question(place) for place in places.tolist()]
    contexts = [table.context_of(place) for place in places.tolist()]
    theirs = encode_pairs(tokenizer, frame, questions, contexts, max_length, stride)
    plain_backend(tokenizer)
    return mine.equals(theirs)


def _refuse_without_room(
    table: QuestionTable, places: Integers, context_lengths: Integers, rooms: Integers, stride: int
) -> None:
    refused = without_room(context_lengths, rooms, stride)
    if not len(refused):
        return
    place = int(refused[0])
    raise DataError(
        f"question {table.id(int(places[place]))} of the {table.split} split leaves no room to advance through its "
        f"context of {context_lengths[place]} tokens: a window has {rooms[place]} tokens for it and shares {stride} "
        "with the next" + (f" ({len(refused)} such questions in this piece)" if len(refused) > 1 else ""),
        why="the question is too long for features.max_length and features.stride",
        do="raise features.max_length, lower features.stride, or remove the question",
    )
