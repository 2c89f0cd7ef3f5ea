"""The smoke question: which is asked, who asks it, and what an answer that differs means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podsquad.data.dataset import write_split
from podsquad.data.squad import Answer, Record
from podsquad.errors import TOKEN_VARIABLES, DataError, TemporaryError
from podsquad.publishing import smoke
from podsquad.publishing.smoke import SmokeQuestion, any_question, smoke_question
from podsquad.question import answer_question
from tests.question_models import QUESTION, SHORT, roberta

__all__ = ["roberta"]


def asked(expected: str | None, probability: float, lines: list[str]) -> SmokeQuestion:
    return SmokeQuestion(QUESTION, SHORT, expected, probability, lines.append)


@pytest.fixture
def answers_london(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "_ask", lambda folder, given: "in London")


def test_a_genuine_model_is_asked_in_a_process_of_its_own(roberta: Path) -> None:
    lines: list[str] = []
    answer = answer_question(roberta, QUESTION, SHORT).text
    asked(answer, 0.9, lines)(roberta)
    assert lines == [f"the published files answer {QUESTION!r} with {answer!r}, as when they were scored"]


def test_files_that_are_no_model_are_refused_by_the_error_that_loading_them_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no tokenizer"):
        asked("London", 0.9, [])(tmp_path)


def test_the_process_that_loads_them_has_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter, told = tmp_path / "python", tmp_path / "environ"
    interpreter.write_text(f'#!/bin/sh\nenv > {told}\necho \'{{"answer": "London"}}\'\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(smoke.sys, "executable", str(interpreter))
    for name in TOKEN_VARIABLES:
        monkeypatch.setenv(name, "hf_ACanaryOfTheEnvironment")
    asked(None, 0.0, [])(tmp_path)
    assert "HF_HUB_OFFLINE=1" in told.read_text()
    assert "Canary" not in told.read_text()


def test_a_process_that_dies_may_be_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nkill -9 $$\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(smoke.sys, "executable", str(interpreter))
    with pytest.raises(TemporaryError, match="ended with -9"):
        asked(None, 0.0, [])(tmp_path)


@pytest.mark.usefixtures("answers_london")
@pytest.mark.parametrize(
    ("expected", "probability", "told"),
    [
        pytest.param("in London", 0.9, "'in London', as when they were scored", id="same"),
        pytest.param("London", 0.9, "when they were scored with 'London' (probability 0.900)", id="sure-other-words"),
        pytest.param("Paris", 0.49, "when they were scored with 'Paris' (probability 0.490)", id="in-doubt"),
        pytest.param(None, 0.0, f"answer {QUESTION!r} with 'in London'", id="not-known"),
    ],
)
def test_an_answer_that_may_be_another_on_another_machine_is_told(
    tmp_path: Path, expected: str | None, probability: float, told: str
) -> None:
    lines: list[str] = []
    asked(expected, probability, lines)(tmp_path)
    assert told in lines[0]


@pytest.mark.usefixtures("answers_london")
def test_files_that_answer_otherwise_where_the_model_was_sure_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"with 'in London', and when they were scored with 'Paris' \(.*0\.500"):
        asked("Paris", 0.5, [])(tmp_path)


def test_no_answer_is_refused_whatever_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "_ask", lambda folder, given: "")
    for question in (asked("London", 0.1, []), any_question(lambda line: None)):
        with pytest.raises(DataError, match="do not answer the smoke question"):
            question(tmp_path)


def test_the_question_whose_answer_was_surest_is_asked(tmp_path: Path) -> None:
    rows = [("a", 0.3, "Ada"), ("b", 0.7, "Bob"), ("c", 0.7, "Eve"), ("d", 0.1, "Dan")]
    records = [Record(key, "t", f"{text} sat.", f"Who is {key}?", (Answer(text, 0),), key) for key, _, text in rows]
    write_split(tmp_path / "validation.arrow", records)
    lines = [json.dumps({"id": key, "probability": sure, "prediction": text}) for key, sure, text in rows]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    found = smoke_question(tmp_path, tmp_path, print)
    assert (found.question, found.context) == ("Who is c?", "Eve sat.")  # of two that are as sure, by its id
    assert (found.expected, found.probability) == ("Eve", 0.7)


@pytest.mark.parametrize("content", ["", "{", '{"id": "a"}', '{"id": "z", "probability": 1, "prediction": "x"}'])
def test_answers_that_cannot_be_read_are_told(tmp_path: Path, content: str) -> None:
    write_split(tmp_path / "validation.arrow", [Record("a", "t", "Ada sat.", "Who?", (Answer("Ada", 0),), "a")])
    (tmp_path / "questions.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"questions\.jsonl"):
        smoke_question(tmp_path, tmp_path, print)
