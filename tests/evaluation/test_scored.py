"""Scores per question as the gate reads them, and what tells two evaluation sets apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podsquad.data.dataset import Questions
from podsquad.errors import DataError
from podsquad.evaluation.scored import ScoredQuestions, article_names, evaluation_digest, read_scored_questions

QUESTIONS = Questions(
    ids=["q1", "q2", "q3"],
    titles=["Ada", "Ada", "Bob"],
    contexts=["one", "one", "two"],
    questions=["Who?", "When?", "Why?"],
    answers=[("a", "b"), ("c",), ("d",)],
    answer_starts=[(0, 1), (2,), (3,)],
)
ROW = {"id": "q1", "article": "Ada", "f1": 0.5, "slices": {"question_word": "who"}}


def write(folder: Path, *rows: Any) -> Path:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def test_the_order_of_questions_and_the_place_of_annotations_do_not_change_the_digest() -> None:
    turned = Questions(*(column[::-1] for column in vars(QUESTIONS).values()))
    assert evaluation_digest(turned) == evaluation_digest(QUESTIONS)
    moved = replace(QUESTIONS, answer_starts=[(7, 8), (9,), (9,)])
    assert evaluation_digest(moved) == evaluation_digest(QUESTIONS)


@pytest.mark.parametrize("column", ["ids", "titles", "contexts", "questions", "answers"])
def test_whatever_a_score_depends_on_changes_the_digest(column: str) -> None:
    value = ("other",) if column == "answers" else "other"
    changed = replace(QUESTIONS, **{column: [value, *getattr(QUESTIONS, column)[1:]]})
    assert evaluation_digest(changed) != evaluation_digest(QUESTIONS)


def test_a_question_less_changes_the_digest() -> None:
    fewer = Questions(*(column[:2] for column in vars(QUESTIONS).values()))
    assert evaluation_digest(fewer) != evaluation_digest(QUESTIONS)


def test_a_question_without_a_title_belongs_to_its_context() -> None:
    names = article_names(replace(QUESTIONS, titles=["", "", ""]))
    assert names[0] == names[1] != names[2]
    assert article_names(QUESTIONS) == QUESTIONS.titles


def test_scores_are_read_with_their_slices(tmp_path: Path) -> None:
    other = {"id": "q\u2028", "article": "Bob\x85", "f1": 1, "slices": {"question_word": "why"}, "prediction": "\u2029"}
    scored = read_scored_questions(write(tmp_path, ROW, other))
    assert scored.ids == ["q1", "q\u2028"]
    assert scored.articles == ["Ada", "Bob\x85"]
    assert scored.f1.tolist() == [0.5, 1.0]
    assert scored.slices == {"question_word": ["who", "why"]}


def test_scores_without_slices_can_be_a_champion_s(tmp_path: Path) -> None:
    scored = read_scored_questions(write(tmp_path, {"id": "q1", "article": "Ada", "f1": 0.5}))
    assert scored.slices == {}


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([ROW, ROW], id="twice"),
        pytest.param([ROW | {"f1": 1.5}], id="above-1"),
        pytest.param([ROW | {"f1": float("nan")}], id="nan"),
        pytest.param([ROW | {"f1": True}], id="truth"),
        pytest.param([ROW | {"f1": "0.5"}], id="text"),
        pytest.param([{"id": "q1", "f1": 0.5}], id="no-article"),
        pytest.param([ROW, ROW | {"id": "q2", "slices": {}}], id="no-slice"),
        pytest.param([[1]], id="no-object"),
        pytest.param([ROW | {"slices": [1]}], id="no-slices"),
    ],
)
def test_broken_scores_are_refused(rows: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the scores in .*questions\.jsonl"):
        read_scored_questions(write(tmp_path, *rows))


def test_scores_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions\.jsonl"):
        read_scored_questions(tmp_path)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different lengths: \[1, 2\]"):
        ScoredQuestions(["q1"], ["a"], np.ones(2))
