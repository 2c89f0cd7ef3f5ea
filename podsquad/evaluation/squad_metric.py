"""Exact match and F1 of SQuAD v1.1, to the last digit as the official program evaluate-v1.1.py computes them.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016. Both texts are
lower-cased, lose punctuation (ASCII's alone), the articles a, an and the, and surplus white space. Exact
match: the texts are then equal. F1: the harmonic mean of precision and recall over their bags of words.
Against several annotations the best value counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podsquad.data.squad import decode_json, parse_squad, read_file
from podsquad.errors import DataError

_ARTICLE_WORDS = frozenset(("a", "an", "the"))
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# The annotations of a question, and the same names over many questions, come again and again.
_MEMO_SIZE = 65_536


@dataclass(frozen=True)
class Scores:
    """Scores per question and over all.

    ``per_question_exact_match`` (bool) and ``per_question_f1`` (float64, 0 to 1) have shape (num_questions,);
    ``exact_match`` and ``f1`` are percentages; ``num_missing`` counts questions without a prediction, which
    score 0.
    """

    per_question_exact_match: NDArray[np.bool_]
    per_question_f1: NDArray[np.float64]
    num_missing: int

    @property
    def num_questions(self) -> int:
        """Number of questions asked, answered or not."""
        return len(self.per_question_f1)

    @property
    def exact_match(self) -> float:
        """Share of questions answered exactly, in percent; 0 without questions."""
        return _percent(float(self.per_question_exact_match.sum()), self.num_questions)

    @property
    def f1(self) -> float:
        """Mean F1 in percent; 0 without questions."""
        return _percent(sum_in_order(self.per_question_f1), self.num_questions)


@lru_cache(maxsize=_MEMO_SIZE)
def split_words(text: str) -> tuple[str, ...]:
    """Return the words that count: lower case, without ASCII punctuation and articles."""
    text = text.lower().translate(_NO_PUNCTUATION)
    # In printable ASCII nothing but white space is left to part words, and an article is a word of its own.
    # Elsewhere an article also ends at such a thing as a dash or a quotation mark beyond ASCII: the official
    # pattern decides.
    if text.isascii() and text.isprintable():
        return tuple(word for word in text.split() if word not in _ARTICLE_WORDS)
    return tuple(_ARTICLES.sub(" ", text).split())


def normalize_answer(text: str) -> str:
    """Return the text as the metric compares it."""
    return " ".join(split_words(text))


def score_answer(prediction: str, annotations: Sequence[str]) -> tuple[bool, float]:
    """Return exact match and F1 (0 to 1) of one prediction: each its best over the annotations."""
    predicted = split_words(prediction)
    exact, f1 = False, 0.0
    for annotation in annotations:
        truth = split_words(annotation)
        if predicted == truth:
            # Two texts without a word left match exactly and yet share no word: F1 stays 0, as in the
            # official program for v1.1 (that for v2.0, and torchmetrics, say 1).
            exact = True
            f1 = 1.0 if predicted else f1
        elif f1 < 1.0:
            f1 = max(f1, _f1(predicted, truth))
    return exact, f1


def score_answers(predictions: Sequence[str | None], annotations: Sequence[Sequence[str]]) -> Scores:
    """Score one prediction per question against its annotations; None is a missing prediction and scores 0.

    Raises ValueError when the two differ in length.
    """
    if len(predictions) != len(annotations):
        raise ValueError(f"{len(predictions)} predictions for {len(annotations)} questions")
    exact = np.zeros(len(predictions), np.bool_)
    f1 = np.zeros(len(predictions), np.float64)
    missing = 0
    for row, (prediction, truths) in enumerate(zip(predictions, annotations, strict=True)):
        if prediction is None:
            missing += 1
        else:
            exact[row], f1[row] = score_answer(prediction, truths)
    return Scores(exact, f1, missing)


def score_files(data: Path, predictions: Path) -> dict[str, Any]:
    """Score predictions in the official form, JSON ``{id: text}``, on a SQuAD v1.1 JSON file (also .gz).

    Returns ``exact_match`` and ``f1`` (percent), ``num_questions``, ``num_missing`` (no prediction: scored 0)
    and ``num_unknown`` (predictions for ids that the data does not have: not counted). Raises
    InputMissingError when a file is not there, DataError when it is not what it should be.
    """
    records = parse_squad(read_file(data), str(data))
    if not records:
        raise DataError(
            f"{data} holds no questions",
            why="a score is a mean over questions",
            do="give the file that the predictions answer",
        )
    guesses = decode_json(read_file(predictions), str(predictions))
    if not isinstance(guesses, dict):
        raise DataError(
            f"{predictions} is not a JSON object of question ids and answers",
            why="each answer is found by the id of its question",
            do='write it as {"id": "answer", ...}, the form of the official program',
        )
    for key, text in guesses.items():
        if not isinstance(text, str):
            raise DataError(
                f"{predictions}: the prediction for {key!r} is no text but {type(text).__name__}",
                why="an answer is compared as text",
                do='write it as {"id": "answer", ...}, the form of the official program',
            )
    texts: Mapping[str, str] = guesses
    scores = score_answers(
        [texts.get(record.id) for record in records],
        [[answer.text for answer in record.answers] for record in records],
    )
    return {
        "exact_match": scores.exact_match,
        "f1": scores.f1,
        "num_questions": scores.num_questions,
        "num_missing": scores.num_missing,
        "num_unknown": len(texts.keys() - {record.id for record in records}),
    }


def sum_in_order(values: NDArray[np.float64]) -> float:
    """Return the sum, added from first to last as the official program does; numpy's own rounds otherwise."""
    return float(np.add.accumulate(values)[-1]) if len(values) else 0.0


def _percent(total: float, count: int) -> float:
    return 100.0 * total / count if count else 0.0


def _f1(predicted: tuple[str, ...], truth: tuple[str, ...]) -> float:
    if len(predicted) == 1 or len(truth) == 1:
        # The common case, without bags: the single word is in the other text or not.
        num_same = int(predicted[0] in truth if len(predicted) == 1 else truth[0] in predicted)
    else:
        num_same = sum((Counter(predicted) & Counter(truth)).values())
    if num_same == 0:
        return 0.0
    precision = 1.0 * num_same / len(predicted)
    recall = 1.0 * num_same / len(truth)
    return (2 * precision * recall) / (precision + recall)
