"""What the gate reads of an evaluation: the score of each question; and what tells two sets of questions apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podsquad.data.dataset import Questions
from podsquad.errors import DataError
from podsquad.store.durable import canonical_json, parse_lines

QUESTIONS_FILE = "questions.jsonl"


@dataclass(frozen=True)
class ScoredQuestions:
    """Questions with their scores, as columns of equal length in any order.

    ``f1`` is float64 from 0 to 1, ``slices`` names per view the slice of each question; a view may be missing.
    Raises ValueError when lengths differ or an id occurs twice.
    """

    ids: Sequence[str]
    articles: Sequence[str]
    f1: NDArray[np.float64]
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.articles), len(self.f1), *map(len, self.slices.values())}
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("a question's id occurs twice")

    def __len__(self) -> int:
        return len(self.ids)


def evaluation_digest(questions: Questions) -> str:
    """Return the SHA-256 of what is asked and of what counts as right, whatever the order of the questions.

    Equal digests: ids, titles, questions, contexts and the texts of the annotations are the same, so scores can be
    compared question by question. Where an annotation starts does not matter to a score, and not here.
    """
    total = hashlib.sha256()
    for row in sorted(range(len(questions)), key=questions.ids.__getitem__):
        entry = [column[row] for column in (questions.ids, questions.titles, questions.questions, questions.contexts)]
        total.update(canonical_json([*entry, list(questions.answers[row])]).encode("utf-8") + b"\n")
    return total.hexdigest()


def article_names(questions: Questions) -> list[str]:
    """Return for each question the article it is resampled with: its title, or its context where there is no title.

    Files without titles exist; taken for one article, nothing could be said of their scores' spread.
    """
    memo: dict[int, str] = {}  # one string object serves all questions on a paragraph

    def name(title: str, context: str) -> str:
        if title:
            return title
        if id(context) not in memo:
            memo[id(context)] = "untitled " + hashlib.sha256(context.encode("utf-8")).hexdigest()[:16]
        return memo[id(context)]

    return [name(*pair) for pair in zip(questions.titles, questions.contexts, strict=True)]


def read_scored_questions(evaluation: Path) -> ScoredQuestions:
    """Return the scores that the folder of an evaluation holds in questions.jsonl. Raises DataError."""
    path = evaluation / QUESTIONS_FILE
    try:
        rows = parse_lines(path.read_bytes())
        views = rows[0].get("slices", {}) if rows else {}
        scored = ScoredQuestions(
            ids=[str(row["id"]) for row in rows],
            articles=[str(row["article"]) for row in rows],
            f1=np.array([_share(row["f1"]) for row in rows], np.float64),
            slices={view: [str(row["slices"][view]) for row in rows] for view in views},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"cannot read the scores in {path}: {error!r}",
            why="the gate compares two models question by question",
            do="run again with --refresh evaluate",
        ) from error
    return scored


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"F1 {value!r} is no number")
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"F1 {value} is not between 0 and 1")
    return float(value)
