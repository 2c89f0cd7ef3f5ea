"""From start and end logits to answers, as Hugging Face's run_qa.py finds them, without its loops.

The rules are those of ``postprocess_qa_predictions`` in utils_qa.py (SQuAD v1.1, no null answers):

1. Of each window take the ``num_best`` highest start logits and the ``num_best`` highest end logits, over
*all* tokens of
   the window: question and special tokens use up places.
2. Of their pairs keep those that start and end in the context, end not before they start, and are at most
   ``max_answer_tokens`` long. The score is the float32 sum of both logits.
3. Over all windows of a question keep the ``num_best`` best pairs; probabilities are a softmax over these.
4. The answer is the context from the first character of the start token to the last of the end token. A
question
   without a pair, or whose only pair has an empty text, is answered by the literal text "empty".

Ties. Among equal logits the later token comes first; among equal scores the earlier window, then the better
start, then the better end. That is the peer with a stable sort; its own ``np.argsort`` leaves equal logits in
an order that depends on the processor.

Padding. The peer's logits are padded, and what a model says at padding tokens competes in rule 1. Here
windows are unpadded: equal to the peer whose padding is masked (as transformers' ``pad_across_processes``
fills -100).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from podsquad.data.arrow import Ragged
from podsquad.errors import DataError, InternalError
from podsquad.evaluation.spans import Floats, Integers, best_pairs, merge_windows, rank_tokens, scores_of

EMPTY_ANSWER = "empty"  # the peer's word for "found nothing"

# Cells of the largest table at work, of 8 bytes each: small enough for a core's second-level cache.
_BLOCK_CELLS = 2**17
_LIMIT = np.float32(1e38)  # below it the sum of two logits is finite


class Windows(Protocol):
    """What is read of ``podsquad.data.arrow.Features``."""

    def __len__(self) -> int: ...
    @property
    def question_index(self) -> np.ndarray: ...
    @property
    def context_start(self) -> np.ndarray: ...
    @property
    def context_length(self) -> np.ndarray: ...
    @property
    def input_ids(self) -> Ragged: ...
    @property
    def char_starts(self) -> Ragged: ...
    @property
    def char_ends(self) -> Ragged: ...


@dataclass(frozen=True)
class Answers:
    """The answers to a split's questions.

    ``texts``: the best answer per question, in the dataset's order. The arrays have shape (num_questions,
    num_best), best first; ``num_found`` (num_questions,) says how many places of a row are filled. Unfilled
    places hold -1 as ``char_starts`` and ``char_ends`` (int32, characters of the context), -inf as ``scores``
    (float32) and 0 as ``probabilities`` (float64, rows sum to 1). ``best_probabilities`` (num_questions,) is
    that of ``texts``; for "empty" it is 1 where nothing was found and its share of the softmax (score 0)
    against the one empty span otherwise.
    """

    texts: list[str]
    best_probabilities: NDArray[np.float64]
    num_found: Integers
    char_starts: NDArray[np.int32]
    char_ends: NDArray[np.int32]
    scores: Floats
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.texts)


def find_answers(
    features: Windows,
    contexts: list[str],
    start_logits: Floats,
    end_logits: Floats,
    *,
    num_best: int,
    max_answer_tokens: int,
) -> Answers:
    """Return the best answers to every question.

    ``contexts`` holds one text per question; the logits are float32 of shape (total tokens,), aligned with
    ``features.input_ids.offsets``. Raises InternalError when their length, type or values cannot be (NaN,
    infinite), DataError when the features point at questions that are not there.
    """
    offsets = np.asarray(features.input_ids.offsets, dtype=np.int64)
    starts = _checked_logits("start", start_logits, int(offsets[-1] - offsets[0]))
    ends = _checked_logits("end", end_logits, int(offsets[-1] - offsets[0]))
    question_index = np.asarray(features.question_index, dtype=np.int64)
    _check_questions(question_index, len(contexts))
    num_questions, num_windows = len(contexts), len(features)
    first_of_context = np.asarray(features.context_start, dtype=np.int64)
    num_context = np.asarray(features.context_length, dtype=np.int64)
    # No window has more pairs than that; a smaller table is a faster one.
    longest = int(np.diff(offsets).max(initial=1))
    best = min(num_best, longest)

    keys = np.zeros((num_windows, min(num_best, best * best)), np.uint64)
    pairs = np.zeros((*keys.shape, 2), np.int32)
    lengths = np.diff(offsets)
    order = np.argsort(lengths, kind="stable")
    position = 0
    while position < num_windows:
        # Windows of nearly the same length share a block, so little of it is filler.
        width = int(lengths[order[position]])
        size = max(1, _BLOCK_CELLS // max(width, best * best))
        stop = min(num_windows, position + size)
        widest = max(64, width + width // 4)
        stop = position + int(np.searchsorted(lengths[order[position:stop]], widest, side="right"))
        rows = order[position : max(stop, position + 1)]
        keys[rows], pairs[rows] = best_pairs(
            rank_tokens(starts, offsets[rows] - offsets[0], lengths[rows], best),
            rank_tokens(ends, offsets[rows] - offsets[0], lengths[rows], best),
            first_of_context[rows],
            num_context[rows],
            max_answer_tokens,
            keys.shape[1],
        )
        position += len(rows)

    char_starts, char_ends = _characters(features, pairs, first_of_context)
    chosen_keys, chosen = merge_windows(keys, question_index, num_questions, num_best)
    filled = chosen_keys > 0
    num_found = filled.sum(axis=1)
    picked_starts = np.where(filled, char_starts[chosen], -1).astype(np.int32)
    picked_ends = np.where(filled, char_ends[chosen], -1).astype(np.int32)
    scores = np.where(filled, scores_of(chosen_keys), np.float32(-np.inf)).astype(np.float32)
    probabilities = _softmax(scores, filled)
    texts, best_probabilities = _texts(contexts, num_found, picked_starts, picked_ends, scores, probabilities)
    return Answers(texts, best_probabilities, num_found, picked_starts, picked_ends, scores, probabilities)


def _characters(
    features: Windows, pairs: NDArray[np.int32], first_of_context: Integers
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return, flat, the first character of each pair's start token and one past the last of its end token."""
    starts, ends = features.char_starts, features.char_ends
    if not len(starts.flat):
        # One place at least: unfilled places of the result point at the first, and are masked.
        nothing = np.full(max(1, pairs[..., 0].size), -1, np.int32)
        return nothing, nothing
    begin = (np.asarray(starts.offsets[:-1]) - starts.offsets[0] - first_of_context)[:, None]
    # Unfilled places point anywhere inside; they are masked later.
    last = len(starts.flat) - 1
    return (
        starts.flat[np.clip(begin + pairs[..., 0], 0, last)].reshape(-1),
        ends.flat[np.clip(begin + pairs[..., 1], 0, last)].reshape(-1),
    )


def _texts(
    contexts: list[str],
    num_found: Integers,
    char_starts: NDArray[np.int32],
    char_ends: NDArray[np.int32],
    scores: Floats,
    probabilities: NDArray[np.float64],
) -> tuple[list[str], NDArray[np.float64]]:
    best_probabilities = probabilities[:, 0].copy()
    texts = [
        context[start:end]
        for context, start, end in zip(contexts, char_starts[:, 0].tolist(), char_ends[:, 0].tolist(), strict=True)
    ]
    for question in np.flatnonzero(num_found <= 1):
        if num_found[question] == 0:
            texts[question], best_probabilities[question] = EMPTY_ANSWER, 1.0
        elif not texts[question]:
            # The peer adds "empty" with score 0 in front, whatever the empty span scores.
            texts[question] = EMPTY_ANSWER
            best_probabilities[question] = 1.0 / (1.0 + np.exp(np.float64(scores[question, 0])))
    return texts, best_probabilities


def _softmax(scores: Floats, filled: NDArray[np.bool_]) -> NDArray[np.float64]:
    top = np.where(filled[:, :1], scores[:, :1], np.float32(0))
    weights = np.where(filled, np.exp(scores.astype(np.float64) - top), 0.0)
    total = weights.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return shares


def _checked_logits(name: str, logits: Floats, num_tokens: int) -> Floats:
    if logits.shape != (num_tokens,) or logits.dtype != np.float32:
        raise InternalError(
            f"the {name} logits are {logits.dtype} of shape {logits.shape}, not float32 of ({num_tokens},)",
            why="the logits were made from other features",
            do="run the evaluation again with --refresh evaluate",
        )
    bad = np.flatnonzero(~(np.abs(logits) < _LIMIT))
    if len(bad):
        raise InternalError(
            f"{len(bad)} of {num_tokens} {name} logits are NaN, infinite or beyond {_LIMIT:g}, "
            f"the first at token {bad[0]}",
            why="the model's weights are broken, or its arithmetic overflowed",
            do="evaluate with training.precision=float32; if it stays, train again with --refresh train",
        )
    return np.ascontiguousarray(logits)


def _check_questions(question_index: Integers, num_questions: int) -> None:
    if not len(question_index):
        return
    if question_index[0] < 0 or question_index[-1] >= num_questions or (np.diff(question_index) < 0).any():
        raise DataError(
            f"the features point at questions {question_index.min()} to {question_index.max()} of a dataset "
            f"with {num_questions} questions, or not in order",
            why="dataset and features belong to different runs",
            do="run again with --refresh tokenize",
        )
