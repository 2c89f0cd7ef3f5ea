"""Slices: which question falls where, and that each view parts all questions."""

from __future__ import annotations

import pytest

from podsquad.data.dataset import Questions
from podsquad.evaluation.slices import VIEWS, question_word, score_slices, slice_questions
from podsquad.evaluation.squad_metric import score_answers


def make_questions(rows: list[tuple[str, str, str]]) -> Questions:
    """From rows of question, answer and context."""
    count = len(rows)
    return Questions(
        ids=[f"q{n}" for n in range(count)],
        titles=["t"] * count,
        contexts=[context for _, _, context in rows],
        questions=[question for question, _, _ in rows],
        answers=[(answer,) for _, answer, _ in rows],
        answer_starts=[(0,)] * count,
    )


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What is it?", "what"),
        ("WHO wrote it?", "who"),
        ("Whose book is it?", "who"),
        ("To whom was it sent?", "who"),
        ("What's that?", "what"),
        ("Who’s there?", "who"),
        ("In which year was it written?", "which"),
        ("It was written when?", "when"),
        ("How many are there, and which?", "how"),
        ("Name the author.", "other"),
        ("Nowhere is whatever other.", "other"),
        ("", "other"),
    ],
)
def test_the_first_question_word_counts(question: str, word: str) -> None:
    assert question_word(question) == word


@pytest.mark.parametrize(
    ("num_words", "name"),
    [(1, "1 word"), (2, "2 words"), (3, "3-4 words"), (4, "3-4 words"), (5, "5-9 words"), (10, "10+ words")],
)
def test_answers_are_told_apart_by_words(num_words: int, name: str) -> None:
    questions = make_questions([("What?", "word " * num_words, "context")])
    assert slice_questions(questions)["answer_length"] == [name]


@pytest.mark.parametrize(
    ("num_words", "name"),
    [(99, "under 100 words"), (100, "100-149 words"), (249, "150-249 words"), (250, "250+ words")],
)
def test_contexts_are_told_apart_by_words(num_words: int, name: str) -> None:
    questions = make_questions([("What?", "word", "word " * num_words)])
    assert slice_questions(questions)["context_length"] == [name]


def test_each_view_parts_all_questions_and_scores_its_own() -> None:
    questions = make_questions([("What?", "one", "c"), ("What?", "two words", "c"), ("Who?", "one", "c " * 120)])
    slices = score_slices(questions, score_answers(["one", "two", "wrong"], questions.answers))
    assert list(slices) == list(VIEWS)
    for parts in slices.values():
        assert sum(part["num_questions"] for part in parts.values()) == 3
    assert slices["question_word"]["who"] == {"num_questions": 1, "exact_match": 0.0, "f1": 0.0}
    what = slices["question_word"]["what"]
    assert (what["exact_match"], what["f1"]) == (50.0, 100.0 * (1.0 + 2 / 3) / 2)
    assert "when" not in slices["question_word"]
