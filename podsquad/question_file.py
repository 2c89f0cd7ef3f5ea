"""A file of questions in SQuAD's layout, answered by one loaded model, and scored where it tells the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.data.squad import Record, parse_squad, read_file
from podsquad.errors import DataError
from podsquad.evaluation.squad_metric import score_answers
from podsquad.question import Answer, best_answer
from podsquad.question_model import QuestionModel

_QUESTIONS_AT_ONCE = 256


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question of the file and its answer."""

    record: Record
    answer: Answer
    prediction: str
    """The answer in the official form's words: "empty" where none was found."""


@dataclass(frozen=True)
class AnsweredFile:
    """A file's questions with their answers, in the file's order."""

    questions: list[AnsweredQuestion]

    def predictions(self) -> dict[str, str]:
        """Return the official form {id: text}, which ``podsquad score`` and evaluate-v1.1.py read."""
        return {each.record.id: each.prediction for each in self.questions}

    def scores(self) -> dict[str, Any]:
        """Return exact match and F1 in percent over the questions that the file gives answers to, and their number."""
        told = [each for each in self.questions if each.record.answers]
        scores = score_answers(
            [each.prediction for each in told], [[answer.text for answer in each.record.answers] for each in told]
        )
        return {"exact_match": scores.exact_match, "f1": scores.f1, "num_questions": scores.num_questions}


def read_question_file(path: Path) -> list[Record]:
    """Return the questions of a file in SQuAD v1.1's layout, gzip-packed or not.

    Raises InputMissingError when it cannot be read, DataError when it has another shape, holds no question, or two of
    one id, which the official form cannot tell apart.
    """
    records = parse_squad(read_file(path), str(path))
    if not records:
        raise DataError(
            f"{path} holds no questions",
            why="all of its paragraphs, if it has any, are without one",
            do="give a file in SQuAD v1.1's layout with questions in it",
        )
    seen: dict[str, str] = {}
    for record in records:
        if record.id in seen:
            raise DataError(
                f"{path}: the id {record.id!r} stands at {seen[record.id]} and at {record.where}",
                why="answers are told by id",
                do="give each question an id of its own",
            )
        seen[record.id] = record.where
    return records


def answer_records(
    model: QuestionModel, records: list[Record], progress: Callable[[int, int], None] = lambda done, total: None
) -> AnsweredFile:
    """Answer all questions as the evaluate stage does: the same windows, the same answers.

    ``progress`` is told the questions done and their number. Raises what ``QuestionModel.find`` raises, naming the
    question by its place in the file.
    """
    answered: list[AnsweredQuestion] = []
    for first in range(0, len(records), _QUESTIONS_AT_ONCE):
        part = records[first : first + _QUESTIONS_AT_ONCE]
        found = model.find(
            [each.question for each in part], [each.context for each in part], [f"{each.where}: " for each in part]
        )
        for row, record in enumerate(part):
            answered.append(AnsweredQuestion(record, best_answer(found, row, record.context), found.texts[row]))
        progress(len(answered), len(records))
    return AnsweredFile(answered)
