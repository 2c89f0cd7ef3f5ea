"""Scores by kind of question: where a model is weak, and what the gate watches beside the mean.

Three views, each parting all questions: the question word, the length of the first annotation in words, the
length of the context in words (words: split at white space).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from podsquad.data.dataset import Questions
from podsquad.evaluation.squad_metric import Scores

QUESTION_WORDS = ("what", "who", "when", "where", "which", "why", "how", "other")
_ASKS = {"whom": "who", "whose": "who", "what's": "what", "who's": "who", "where's": "where"}
# Upper bounds, inclusive, and the name of the slice; the last takes the rest.
ANSWER_LENGTHS = ((1, "1 word"), (2, "2 words"), (4, "3-4 words"), (9, "5-9 words"), (None, "10+ words"))
CONTEXT_LENGTHS = (
    (99, "under 100 words"),
    (149, "100-149 words"),
    (249, "150-249 words"),
    (None, "250+ words"),
)
VIEWS: dict[str, tuple[str, ...]] = {
    "question_word": QUESTION_WORDS,
    "answer_length": tuple(name for _, name in ANSWER_LENGTHS),
    "context_length": tuple(name for _, name in CONTEXT_LENGTHS),
}
_WORD = re.compile(r"[^\W\d_]+(?:['’]s)?")


def question_word(question: str) -> str:
    """Return the first question word that the question holds ("In which year ..." is "which"), or "other"."""
    for word in _WORD.findall(question.lower()):
        word = word.replace("’", "'")
        word = _ASKS.get(word, word)
        if word in QUESTION_WORDS and word != "other":
            return str(word)
    return "other"


def slice_questions(questions: Questions) -> dict[str, list[str]]:
    """Return for each of VIEWS the name of the slice of each question, in order."""
    memo: dict[int, str] = {}  # one string object serves all questions on a paragraph

    def context_slice(context: str) -> str:
        if id(context) not in memo:
            memo[id(context)] = _bucket(len(context.split()), CONTEXT_LENGTHS)
        return memo[id(context)]

    return {
        "question_word": [question_word(question) for question in questions.questions],
        "answer_length": [_bucket(len(texts[0].split()), ANSWER_LENGTHS) for texts in questions.answers],
        "context_length": [context_slice(context) for context in questions.contexts],
    }


def score_slices(questions: Questions, scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """Return ``{view: {slice: {num_questions, exact_match, f1}}}`` in percent, without empty slices.

    The slices of a view part the questions: their counts add up to all.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for view, names in slice_questions(questions).items():
        members = np.asarray(names)
        result[view] = {}
        for name in VIEWS[view]:
            inside = members == name
            if inside.any():
                part = Scores(scores.per_question_exact_match[inside], scores.per_question_f1[inside], num_missing=0)
                result[view][name] = {
                    "num_questions": part.num_questions,
                    "exact_match": part.exact_match,
                    "f1": part.f1,
                }
    return result


def _bucket(length: int, bounds: Sequence[tuple[int | None, str]]) -> str:
    fits: Callable[[int | None], bool] = lambda bound: bound is None or length <= bound  # noqa: E731
    return next(name for bound, name in bounds if fits(bound))
