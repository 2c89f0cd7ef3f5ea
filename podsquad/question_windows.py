"""Questions and contexts as the windows that a published model reads, in the form that the evaluation reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podsquad.data.arrow import Ragged
from podsquad.data.pairs import Frame, Rows, encode_pairs
from podsquad.errors import SettingsError


@dataclass(frozen=True)
class QuestionWindows:
    """The windows of several questions, in their order (``evaluation.answers.Windows``)."""

    question_index: np.ndarray
    context_start: np.ndarray
    context_length: np.ndarray
    input_ids: Ragged
    char_starts: Ragged
    char_ends: Ragged

    def __len__(self) -> int:
        return len(self.question_index)


def make_windows(
    tokenizer: Any,
    frame: Frame,
    questions: Sequence[str],
    contexts: Sequence[str],
    places: Sequence[str],
    max_length: int,
    stride: int,
) -> QuestionWindows:
    """Return the windows of questions, each about the context of the same row, as the tokenize stage makes them.

    Raises SettingsError for a question that leaves no room to advance through its context.
    """
    asked = [question.lstrip() for question in questions]  # as run_qa.py does
    lengths = [len(ids) for ids in tokenizer(asked, [""] * len(asked))["input_ids"]]
    for place, question, context, length in zip(places, asked, contexts, lengths, strict=True):
        # A context that fits whole needs no room to advance; it is tokenized only where the question is that long.
        if length + stride >= max_length and len(tokenizer(question, context)["input_ids"]) > max_length:
            raise SettingsError(
                f"{place}the question is too long: {len(question)} characters",
                why=f"the model reads windows of {max_length} tokens, which must hold the question and some context",
                do="ask a shorter question",
            )
    return _from_rows(encode_pairs(tokenizer, frame, asked, contexts, max_length, stride))


def _from_rows(rows: Rows) -> QuestionWindows:
    return QuestionWindows(
        question_index=rows.question,
        context_start=rows.context_start,
        context_length=rows.context_length,
        input_ids=Ragged(rows.input_ids, rows.input_offsets),
        char_starts=Ragged(rows.char_starts, rows.char_offsets),
        char_ends=Ragged(rows.char_ends, rows.char_offsets),
    )
