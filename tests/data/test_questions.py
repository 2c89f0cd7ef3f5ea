"""A split of a dataset as columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from podsquad.data.questions import QuestionTable
from podsquad.data.squad import Answer, Record
from podsquad.errors import DataError
from tests.data.texts import write_dataset


def record(name: str, context: str, question: str, *answers: Answer) -> Record:
    return Record(name, "T", context, question, answers, "row")


def test_columns(tmp_path: Path) -> None:
    rows = [
        record("a", "Ulm 👍🏽 Ulm", " \u3000Who? ", Answer("👍🏽 U", 4), Answer("Ulm", 0)),
        record("b", "Paris", "Where?"),
        record("c", "Ulm 👍🏽 Ulm", "\nWhat?", Answer("Ulm", 7)),
    ]
    table = QuestionTable(write_dataset(tmp_path / "dataset", rows, []), "train")
    assert (len(table), table.num_contexts, table.split) == (3, 2, "train")
    assert table.questions(slice(0, 2)) == ["Who? ", "Where?"]
    assert table.question(2) == "What?"
    assert table.id(1) == "b"
    assert [table.context_of(place) for place in range(3)] == [row.context for row in rows]
    assert table.contexts(slice(0, 2)) == ["Ulm 👍🏽 Ulm", "Paris"]
    assert table.context.tolist() == [0, 1, 0]
    assert table.context_bytes.tolist() == [16, 5]
    assert table.answer_starts.tolist() == [4, -1, 7]  # in characters, of the first answer
    assert table.answer_ends.tolist() == [8, -1, 10]
    assert list(table.texts(step=1)) == ["Ulm 👍🏽 Ulm", "Paris", "Who? ", "Where?", "What?"]
    assert len(QuestionTable(tmp_path / "dataset", "validation")) == 0


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match="cannot read"):
        QuestionTable(tmp_path, "train")
