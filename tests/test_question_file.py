"""A file of questions: the answers are the evaluate stage's own, and score as they did there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.config.section import StageName
from podsquad.data.arrow import LAYOUT_FILE, read_layout
from podsquad.data.dataset import Questions, read_questions
from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.evaluation.report import METRICS_FILE, read_metrics
from podsquad.evaluation.squad_metric import score_files
from podsquad.question import ask_model
from podsquad.question_file import answer_records, read_question_file
from podsquad.question_model import load_question_model
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import StageOutcome, run_stage
from tests.question_models import LONG, QUESTION, SHORT, roberta
from tests.stages.fakes import Told

__all__ = ["roberta"]


def squad(questions: list[tuple[str, str, str, list[str]]]) -> dict[str, Any]:
    """Return a document in SQuAD's layout; a question is (id, question, context, annotations)."""

    def paragraph(key: str, question: str, context: str, texts: list[str]) -> dict[str, Any]:
        answers = [{"text": text, "answer_start": context.index(text)} for text in texts]
        return {"context": context, "qas": [{"id": key, "question": question, "answers": answers}]}

    return {"data": [{"title": "T", "paragraphs": [paragraph(*question) for question in questions]}]}


def write(path: Path, questions: list[tuple[str, str, str, list[str]]]) -> Path:
    path.write_text(json.dumps(squad(questions)), encoding="utf-8")
    return path


def rows_of(questions: Questions) -> list[tuple[str, str, str, list[str]]]:
    columns = (questions.ids, questions.questions, questions.contexts, questions.answers)
    return [(key, question, context, list(texts)) for key, question, context, texts in zip(*columns, strict=True)]


def test_the_answers_are_those_of_the_evaluate_stage(tmp_path: Path) -> None:
    """The genuine stages train a small model; then ``ask`` answers the questions that it was evaluated on."""
    settings = load_settings(
        "demo",
        {
            "store.path": tmp_path / "store",
            "data.demo_train_questions": 60,
            "data.demo_validation_questions": 40,
            "training.epochs": 1,
            "features.max_length": 112,  # some contexts fit, others take several windows
            "features.stride": 32,
        },
    ).settings
    paths: dict[StageName, StageOutcome] = {}
    for name in ("download", "tokenize", "compile", "train", "evaluate"):
        inputs = {each: paths[each].artifact for each in STAGES[name].inputs}
        paths[name] = run_stage(name, settings, inputs, reporter=Told())
    evaluation = paths["evaluate"].artifact.path
    model = tmp_path / "model"
    shutil.copytree(paths["train"].artifact.path / "model", model)
    shutil.copy(paths["tokenize"].artifact.path / LAYOUT_FILE, model)
    shutil.copy(evaluation / METRICS_FILE, model)
    file = write(tmp_path / "questions.json", rows_of(read_questions(paths["download"].artifact.path, "validation")))

    answered = answer_records(load_question_model(model), read_question_file(file))

    num_windows = read_layout(paths["tokenize"].artifact.path)["splits"]["validation"]["num_features"]
    assert len(answered.questions) == 40 < num_windows < 2 * 40  # one window and several
    assert answered.predictions() == json.loads((evaluation / "predictions.json").read_text(encoding="utf-8"))
    places = [json.loads(line) for line in (evaluation / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(each.answer.char_start, each.answer.char_end) for each in answered.questions] == [
        (place["char_start"], place["char_end"]) for place in places
    ]
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps(answered.predictions()), encoding="utf-8")
    official, metrics, own = score_files(file, predictions), read_metrics(evaluation), answered.scores()
    for name in ("exact_match", "f1", "num_questions"):
        assert official[name] == metrics[name] == own[name]


def test_many_questions_are_answered_as_each_alone(
    roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podsquad.question_file._QUESTIONS_AT_ONCE", 3)
    model = load_question_model(roberta)
    rows = [(str(number), QUESTION, context, []) for number, context in enumerate([SHORT, "Ada", LONG, "x y", SHORT])]
    told: list[tuple[int, int]] = []
    answered = answer_records(
        model, read_question_file(write(tmp_path / "q.json", rows)), lambda *numbers: told.append(numbers)
    )
    assert told == [(3, 5), (5, 5)]
    assert list(answered.predictions()) == ["0", "1", "2", "3", "4"]
    for question, (_, _, context, _) in zip(answered.questions, rows, strict=True):
        alone = ask_model(model, QUESTION, context)
        assert (question.prediction, question.answer.text) == (alone.text, alone.text)
        assert (question.answer.char_start, question.answer.char_end) == (alone.char_start, alone.char_end)
        assert question.answer.probability == pytest.approx(alone.probability, rel=1e-3)
        assert question.answer.score == pytest.approx(alone.score, rel=1e-3)
    assert answered.scores()["num_questions"] == 0  # none of them tells an answer


def test_a_context_without_a_token_has_the_official_word_for_no_answer(roberta: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "q.json", [("1", QUESTION, "", []), ("2", QUESTION, SHORT, [])])
    answered = answer_records(load_question_model(roberta), read_question_file(file))
    assert answered.predictions()["1"] == "empty"
    none, found = (each.answer for each in answered.questions)
    assert (none.text, none.char_start, none.score) == ("", -1, None)
    assert found.char_start >= 0


def test_what_is_wrong_in_a_file_is_named(roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="cannot read"):
        read_question_file(tmp_path / "nothing.json")
    with pytest.raises(DataError, match="holds no questions"):
        read_question_file(write(tmp_path / "none.json", []))
    twice = [("7", QUESTION, SHORT, []), ("7", "Who?", SHORT, [])]
    with pytest.raises(DataError, match=r"the id '7' stands at .*paragraphs\[0\].* and at .*paragraphs\[1\]"):
        read_question_file(write(tmp_path / "twice.json", twice))
    model = load_question_model(roberta)
    place = r"^data\[0\]\.paragraphs\[1\]\.qas\[0\]: "
    for question, context, kind, what in [
        ("a b " * 100, LONG, SettingsError, "the question is too long"),
        ("a\ud800", SHORT, DataError, "the question is not Unicode"),
        ("a", "b\udfff", DataError, "the context is not Unicode"),
    ]:
        rows = [("1", QUESTION, SHORT, []), ("2", question, context, [])]
        with pytest.raises(kind, match=place + what):
            answer_records(model, read_question_file(write(tmp_path / "q.json", rows)))
