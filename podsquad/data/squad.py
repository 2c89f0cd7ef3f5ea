"""SQuAD v1.1's JSON layout, taken apart: bytes in, one record per question out, in the file's order.

    {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text",
    "answer_start"}]}]}]}]}

Here a file either has that shape or is refused, with the place that is wrong. Whether what it says is true
(does the answer stand where it claims?) is the business of ``podsquad.data.checks``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from podsquad.errors import DataError, InputMissingError

_GZIP_MAGIC = b"\x1f\x8b"
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotation: ``text`` is said to begin at character ``start`` of the context."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Record:
    """One question as its source tells it; ``where`` is its place there, for messages."""

    id: str
    title: str
    context: str
    question: str
    answers: tuple[Answer, ...]
    where: str

    def as_json(self) -> dict[str, Any]:
        """Return the record's content (without ``where``) as plain JSON values."""
        return {
            "id": self.id,
            "title": self.title,
            "context": self.context,
            "question": self.question,
            "answers": [{"text": answer.text, "answer_start": answer.start} for answer in self.answers],
        }


def read_file(path: Path, setting: str = "") -> bytes:
    """Return the file's bytes as they lie there (not unpacked).

    ``setting`` names the setting that holds the path, for the message. Raises InputMissingError when the path
    is no file or this user may not read it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        name = f" ({setting})" if setting else ""
        raise InputMissingError(
            f"cannot read the SQuAD file {path}{name}: {error.strerror or error}",
            why="it is not there, is a folder, or this user may not read it",
            do="check the path and its rights; relative paths count from the folder the command runs in",
        ) from error


def parse_squad(content: bytes, name: str = "the SQuAD file") -> list[Record]:
    """Return the records of a SQuAD v1.1 JSON text, gzip-packed or not (told by its first bytes), in order.

    Raises DataError, opening with ``name``, when the bytes are cut short, are not UTF-8 or JSON, or have
    another shape; the message names the first place that is wrong.
    """
    return list(iterate_squad(decode_json(content, name), name))


def decode_json(content: bytes, name: str) -> Any:
    """Return the value of a JSON text in UTF-8 (a byte order mark is allowed), gzip-packed or not.

    Raises DataError, opening with ``name``.
    """
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(
                f"{name} is a damaged gzip file: {error}",
                why="its download or copy was most likely cut short",
                do="fetch the file again",
            ) from error
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}",
            why="it was saved in another encoding, or is no text",
            do="convert it to UTF-8, or fetch the original again",
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name} is not JSON: {error}",
            why="it is another kind of file, or it was cut short" if content else "it is empty",
            do="give a SQuAD v1.1 JSON file, such as train-v1.1.json",
        ) from error


def iterate_squad(document: Any, name: str = "the SQuAD file") -> Iterator[Record]:
    """Yield the records of a decoded SQuAD v1.1 document, in order. Raises as ``parse_squad`` does."""
    shape = _Shape(name)
    top = shape.of(document, dict, "the document")
    for a, article in enumerate(shape.get(top, "data", list, "the document")):
        at_article = f"data[{a}]"
        article = shape.of(article, dict, at_article)
        # Files without titles exist in the wild and lose nothing: a title is only shown.
        title = shape.of(article.get("title", ""), str, at_article + ".title")
        for p, paragraph in enumerate(shape.get(article, "paragraphs", list, at_article)):
            at_paragraph = f"{at_article}.paragraphs[{p}]"
            paragraph = shape.of(paragraph, dict, at_paragraph)
            context = shape.get(paragraph, "context", str, at_paragraph)
            for q, qa in enumerate(shape.get(paragraph, "qas", list, at_paragraph)):
                where = f"{at_paragraph}.qas[{q}]"
                qa = shape.of(qa, dict, where)
                if qa.get("is_impossible"):
                    shape.refuse(
                        f"{where} is marked as impossible to answer",
                        why="this is SQuAD v2.0; podsquad trains and scores SQuAD v1.1, where every question "
                        "has an answer",
                    )
                yield Record(
                    id=shape.get(qa, "id", str, where),
                    title=title,
                    context=context,
                    question=shape.get(qa, "question", str, where),
                    answers=_answers(shape, shape.get(qa, "answers", list, where), where),
                    where=where,
                )


def _answers(shape: _Shape, raw: list[Any], where: str) -> tuple[Answer, ...]:
    answers = []
    for number, answer in enumerate(raw):
        at = f"{where}.answers[{number}]"
        answer = shape.of(answer, dict, at)
        answers.append(Answer(shape.get(answer, "text", str, at), shape.get(answer, "answer_start", int, at)))
    return tuple(answers)


class _Shape:
    """Checks that JSON values have the kind that the layout asks for, and names the place where not."""

    def __init__(self, name: str) -> None:
        self._name = name

    def of(self, value: Any, kind: type, where: str) -> Any:
        # bool is a subclass of int, and true is no offset.
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(f"{where} is not {_KINDS[kind]} but {_shown(value)}")
        return value

    def get(self, holder: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
        if key not in holder:
            self.refuse(f"{where} has no {key!r}")
        path = key if where == "the document" else f"{where}.{key}"
        return self.of(holder[key], kind, path)

    def refuse(self, what: str, why: str = "it has not the layout of SQuAD v1.1") -> NoReturn:
        raise DataError(f"{self._name}: {what}", why=why, do="give a SQuAD v1.1 JSON file, such as train-v1.1.json")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
