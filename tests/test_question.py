"""One question: its texts, its answer, and the model that is asked where none is named."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.question import answer_question, read_context
from podsquad.question_model import QuestionModel
from tests.question_models import QUESTION, SHORT, roberta

__all__ = ["roberta"]


def test_no_answer_is_told_in_plain_json(roberta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(model: QuestionModel, windows: Any) -> Any:
        # The question's tokens have all of the best starts, the context's first that of the ends.
        logits = np.zeros(len(windows.input_ids.flat), np.float32)
        logits[: int(windows.context_start[0])] = 1.0
        return logits, logits

    monkeypatch.setattr(QuestionModel, "_predict", predict)
    answer = answer_question(roberta, "a b " * 9, "Ada")
    assert json.loads(json.dumps(answer.to_json(), allow_nan=False)) == {
        "text": "",
        "char_start": -1,
        "char_end": -1,
        "probability": 0.0,
        "score": None,
    }


@pytest.mark.parametrize(("question", "context"), [("", SHORT), (" \n", SHORT), (QUESTION, ""), (QUESTION, "\t")])
def test_empty_texts_are_refused(roberta: Path, question: str, context: str) -> None:
    with pytest.raises(SettingsError, match="is empty"):
        answer_question(roberta, question, context)


def test_the_context_comes_from_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes("Zürich\r\nis a city".encode())
    assert read_context("as given", None) == "as given"
    assert read_context(None, file) == "Zürich\r\nis a city"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(b"\xef\xbb\xbfpiped")))
    assert read_context(None, None) == "piped"


def test_a_context_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text.txt"
    with pytest.raises(SettingsError, match="a context and a file"):
        read_context("text", file)
    with pytest.raises(InputMissingError, match="No such file"):
        read_context(None, file)
    file.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match="not UTF-8 text: invalid start byte at byte 3"):
        read_context(None, file)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(SettingsError, match="no context was given"):
        read_context(None, None)
