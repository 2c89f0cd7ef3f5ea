"""The metric against the official program, restated, and against torchmetrics: equal to the last digit."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podsquad.errors import DataError, InputMissingError
from podsquad.evaluation.squad_metric import normalize_answer, score_answer, score_answers, score_files
from tests.evaluation import official_squad_metric as official

TRICKY = [
    "",
    " ",
    "the",
    "a an the",
    "The Beatles",
    "the-end",
    "the–end",
    "“the” end",
    "l'an 2000",
    "a.b.c.",
    "U.S.A",
    "an\u00a0apple",
    "A\u200bn apple",
    "the\tcat\nsat",
    "the\x1ccat",
    "the\x00cat",
    "the\x7fa",
    "ÄÖÜ straße",
    "İstanbul",
    "ﬁve",
    "①",
    "$1,000.00",
    "1 000",
    "_the_",
    "a_b",
    "theater",
    "ana",
    "cat cat dog",
    "dog cat cat cat",
    "…",
    "!!!",
    "中文 the 中",
    "éa",
    "a\u0301",
    "\u2028an\u2028",
    "𝒂 the 𝒂",
]


@pytest.mark.parametrize("text", TRICKY, ids=ascii)
def test_texts_are_normalised_as_officially(text: str) -> None:
    assert normalize_answer(text) == official.normalize(text)


def test_every_pair_of_tricky_texts_scores_as_officially() -> None:
    for prediction in TRICKY:
        for truth in TRICKY:
            expected = (bool(official.exact(prediction, truth)), official.f1(prediction, truth))
            assert score_answer(prediction, [truth]) == expected, (prediction, truth)


def test_every_character_is_normalised_as_officially() -> None:
    for code in range(0x3000):
        text = f"the{chr(code)}a {chr(code)}an"
        assert normalize_answer(text) == official.normalize(text), hex(code)


def random_text(draw: random.Random) -> str:
    words = ["the", "a", "an", "cat", "dog", "Cat.", "(dog)", "1843", "–", "the–cat", "", "it's", "  "]
    return " ".join(draw.choice(words) for _ in range(draw.randint(0, 6)))


def random_case(seed: int, count: int) -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)
    return (
        [random_text(draw) for _ in range(count)],
        [[random_text(draw) for _ in range(draw.randint(1, 5))] for _ in range(count)],
    )


@pytest.mark.parametrize("seed", range(20))
def test_random_cases_score_as_officially_to_the_last_digit(seed: int) -> None:
    predictions, annotations = random_case(seed, 500)
    scores = score_answers(predictions, annotations)
    assert (scores.exact_match, scores.f1) == official.evaluate(predictions, annotations)


def torchmetrics_scores(predictions: list[str], annotations: list[list[str]]) -> dict[str, Any]:
    text = pytest.importorskip("torchmetrics.text")
    metric = text.SQuAD()
    metric.update(
        [{"id": str(n), "prediction_text": one} for n, one in enumerate(predictions)],
        [
            {"id": str(n), "answers": {"text": truths, "answer_start": [0] * len(truths)}}
            for n, truths in enumerate(annotations)
        ],
    )
    return {name: value.item() for name, value in metric.compute().items()}


FULL = [text for text in TRICKY if official.normalize(text)]


@pytest.mark.parametrize("seed", range(5))
def test_tricky_cases_score_as_in_torchmetrics(seed: int) -> None:
    draw = random.Random(seed)
    predictions = [" ".join(draw.choices(FULL, k=draw.randint(1, 5))) for _ in range(200)]
    annotations = [
        [" ".join(draw.choices(FULL, k=draw.randint(1, 5))) for _ in range(draw.randint(1, 4))] for _ in range(150)
    ] + [[one, "x"] for one in predictions[150:]]
    theirs = torchmetrics_scores(predictions, annotations)
    scores = score_answers(predictions, annotations)
    assert scores.exact_match == theirs["exact_match"]
    # torchmetrics computes in float32: equal to every digit that it has.
    assert scores.f1 == pytest.approx(theirs["f1"], rel=2e-6)


@pytest.mark.parametrize("text", FULL, ids=ascii)
def test_single_questions_score_as_in_torchmetrics_to_the_last_digit(text: str) -> None:
    for prediction in (text, f"{text} dog", "cat dog the 1843"):
        theirs = torchmetrics_scores([prediction], [[text, "1843 cat"]])
        scores = score_answers([prediction], [[text, "1843 cat"]])
        assert theirs["exact_match"] == scores.exact_match
        ulp = np.spacing(np.float32(theirs["f1"]))
        assert abs(np.float32(scores.f1) - np.float32(theirs["f1"])) <= 2 * ulp


def test_where_both_texts_are_empty_torchmetrics_is_not_the_official_program() -> None:
    """Where no word is left on either side the official v1.1 gives F1 0; torchmetrics follows v2.0."""
    assert official.evaluate(["the"], [["a"]]) == (100.0, 0.0)
    assert score_answers(["the"], [["a"]]).f1 == 0.0
    assert torchmetrics_scores(["the"], [["a"]])["f1"] == 100.0


def test_the_best_annotation_counts() -> None:
    assert score_answer("in 1843", ["1843", "in 1843"]) == (True, 1.0)
    # Not the annotation that matches exactly gives the F1 here, and both values stand.
    assert score_answer("the", ["", "the cat"]) == (True, 0.0)
    assert score_answer("x", []) == (False, 0.0)


def test_missing_predictions_count_as_wrong_and_are_counted() -> None:
    scores = score_answers([None, "Ada"], [["Ada"], ["Ada"]])
    assert (scores.exact_match, scores.f1, scores.num_missing) == (50.0, 50.0, 1)
    assert scores.per_question_f1.tolist() == [0.0, 1.0]


def test_no_questions_score_nothing_and_lengths_must_fit() -> None:
    assert score_answers([], []).f1 == 0.0
    with pytest.raises(ValueError, match="1 predictions for 0 questions"):
        score_answers(["x"], [])


def data_file(folder: Path) -> Path:
    qas = [{"id": f"q{n}", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]} for n in range(4)]
    document = {"data": [{"title": "t", "paragraphs": [{"context": "Ada wrote it.", "qas": qas}]}]}
    path = folder / "data.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path


def predictions_file(folder: Path, content: Any) -> Path:
    path = folder / "predictions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_files_in_the_official_form_are_scored(tmp_path: Path) -> None:
    guesses = predictions_file(tmp_path, {"q0": "the Ada", "q1": "Ada wrote", "q2": "Bob", "other": "x"})
    assert score_files(data_file(tmp_path), guesses) == {
        "exact_match": 25.0,
        "f1": 100.0 * (1.0 + 2 / 3 + 0.0) / 4,
        "num_questions": 4,
        "num_missing": 1,
        "num_unknown": 1,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param([1], "is not a JSON object", id="a-list"),
        pytest.param({"q0": None}, "for 'q0' is no text but NoneType", id="null"),
        pytest.param({"q0": ["Ada"]}, "for 'q0' is no text but list", id="list-of-answers"),
        pytest.param("{", "is not JSON", id="cut-short"),
    ],
)
def test_predictions_of_another_form_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        score_files(data_file(tmp_path), predictions_file(tmp_path, content))
    assert "predictions.json" in caught.value.what


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    data = data_file(tmp_path)
    with pytest.raises(InputMissingError, match=r"nowhere\.json"):
        score_files(data, tmp_path / "nowhere.json")
    with pytest.raises(InputMissingError, match=r"nowhere\.json"):
        score_files(tmp_path / "nowhere.json", data)
    empty = tmp_path / "empty.json"
    empty.write_text('{"data": []}')
    with pytest.raises(DataError, match="holds no questions"):
        score_files(empty, data)
