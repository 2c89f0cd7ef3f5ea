"""One question about one text, answered by a published model: what ``podsquad ask`` and a publication's check do."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podsquad.errors import DataError, InputMissingError, SettingsError

if TYPE_CHECKING:
    from podsquad.evaluation.answers import Answers
    from podsquad.question_model import QuestionModel


@dataclass(frozen=True)
class Answer:
    """The best answer: the text between two characters of the context, and how sure the model is of it."""

    text: str
    char_start: int  # -1 where no answer was found
    char_end: int  # one past the last
    probability: float  # share among the candidates
    score: float | None  # sum of the two logits; None where no answer was found

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return asdict(self)


def answer_question(model_folder: Path, question: str, context: str) -> Answer:
    """Return the best answer that the model in that folder finds in ``context``, which may be of any length.

    Raises what ``load_question_model`` and ``ask_model`` raise.
    """
    check_texts(question, context)
    from podsquad.question_model import load_question_model

    return ask_model(load_question_model(model_folder), question, context)


def ask_model(model: QuestionModel, question: str, context: str) -> Answer:
    """Return the best answer of a loaded model.

    Raises SettingsError for an empty question or context or a question longer than a window, DataError for a text that
    is no Unicode or a tokenizer that does not belong to the model.
    """
    check_texts(question, context)
    return best_answer(model.find([question], [context]), 0, context)


def best_answer(found: Answers, row: int, context: str) -> Answer:
    """Return the best answer to one of the questions, the one asked about ``context``."""
    if not found.num_found[row]:
        return Answer("", -1, -1, 0.0, None)
    start, end = int(found.char_starts[row, 0]), int(found.char_ends[row, 0])
    return Answer(context[start:end], start, end, float(found.probabilities[row, 0]), float(found.scores[row, 0]))


def check_texts(question: str, context: str) -> None:
    """Raise SettingsError when one of the two is empty."""
    if not question.strip() or not context.strip():
        raise SettingsError(
            "the question or the context is empty",
            why="without --context and --context-file the context is read from standard input",
            do="give both some text",
        )


def read_context(text: str | None, file: Path | None) -> str:
    """Return the context: the text, a file's content, or standard input.

    Raises SettingsError when there is none or two, InputMissingError for a file that cannot be read, DataError for
    bytes that are not UTF-8.
    """
    if text is not None and file is not None:
        raise SettingsError(
            "a context and a file with a context were given",
            why="a question is about one text",
            do="give one of the two",
        )
    if text is not None:
        return text
    if file is not None:
        return read_text_file(file)
    if sys.stdin.isatty():
        raise SettingsError(
            "no context was given",
            why="an answer is a part of a text, and standard input is a terminal",
            do="give --context TEXT or --context-file FILE",
        )
    # Not the stream of text: its encoding is the terminal's.
    return _decoded(sys.stdin.buffer.read(), "standard input")


def read_text_file(file: Path) -> str:
    """Return a file's content. Raises InputMissingError when it cannot be read, DataError when it is not UTF-8."""
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        said = getattr(error, "strerror", None) or error
        raise InputMissingError(
            f"cannot read {file}: {said}",
            why="it is no file that this user may read",
            do="check the path",
        ) from error
    return _decoded(content, str(file))


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text: {error.reason} at byte {error.start}",
            why="it is in another encoding, or no text",
            do="convert it",
        ) from error
