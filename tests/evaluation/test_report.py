"""The evaluation stage on small artifacts: its files, their agreement, equal bytes, and its refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podsquad.data.dataset import read_questions
from podsquad.errors import DataError, InternalError, StoreError
from podsquad.evaluation.plots import plot_loss
from podsquad.evaluation.report import read_history, read_metrics
from podsquad.evaluation.scored import evaluation_digest, read_scored_questions
from tests.evaluation.official_squad_metric import evaluate
from tests.evaluation.small_inputs import CONTEXT, WORDS, Inputs, make_inputs

FILES = [
    "metrics.json",
    "nbest.jsonl",
    "plots/f1_by_slice.png",
    "plots/loss.png",
    "predictions.json",
    "questions.jsonl",
    "report.md",
]
PICTURES = [name for name in FILES if name.endswith(".png")]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return make_inputs(tmp_path)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_evaluation_holds_its_files_and_they_agree(inputs: Inputs) -> None:
    output = inputs.build()
    assert sorted(digests(output)) == FILES
    metrics = read_metrics(output)
    predictions = json.loads((output / "predictions.json").read_text(encoding="utf-8"))
    texts = [WORDS[2] if n % 3 == 0 else WORDS[0 if n % 2 else 5] for n in range(12)]
    assert predictions == {f"q{n}": text for n, text in enumerate(texts)}
    truths = [[WORDS[0 if n % 2 else 5]] for n in range(12)]
    assert (metrics["exact_match"], metrics["f1"]) == evaluate(texts, truths)
    assert (metrics["num_questions"], metrics["num_articles"], metrics["num_empty"]) == (12, 3, 0)
    rows = read_lines(output / "questions.jsonl")
    assert [row["prediction"] for row in rows] == texts
    assert 100.0 * sum(row["f1"] for row in rows) / 12 == metrics["f1"]
    assert all(CONTEXT[row["char_start"] : row["char_end"]] == row["prediction"] for row in rows)
    best = read_lines(output / "nbest.jsonl")
    assert [row["best"][0]["text"] for row in best] == texts
    assert max(len(row["best"]) for row in best) <= 5


def test_the_gate_finds_what_it_needs(inputs: Inputs) -> None:
    output = inputs.build()
    scored = read_scored_questions(output)
    assert scored.ids == [f"q{n}" for n in range(12)]
    assert scored.articles == ["t0", "t1", "t2"] * 4
    assert 100.0 * scored.f1.mean() == pytest.approx(read_metrics(output)["f1"])
    assert {view: set(names) for view, names in scored.slices.items()} == {
        "question_word": {"who"},
        "answer_length": {"1 word"},
        "context_length": {"under 100 words"},
    }
    digest = read_metrics(output)["evaluation_digest"]
    assert digest == evaluation_digest(read_questions(inputs.root / "dataset", "validation"))


def test_the_report_is_for_people(inputs: Inputs) -> None:
    text = (inputs.build() / "report.md").read_text(encoding="utf-8")
    assert "Exact match **66.67**, F1 **66.67** on 12 questions about 3 articles." in text
    assert "Trained for 8 optimizer steps, mean loss 1.2500." in text
    # The surest mistake comes first, and a bar in an answer does not break the table.
    assert text.split("## The surest mistakes")[1].splitlines()[4].startswith("| Who? | \\| | Ada |")


def test_an_emulated_training_s_evaluation_says_so(inputs: Inputs) -> None:
    plain = inputs.build()
    assert "mulat" not in "".join((plain / name).read_text() for name in ("report.md", "metrics.json"))
    pictures = [(plain / name).read_bytes() for name in PICTURES]
    path = inputs.root / "model/training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"emulated": True}))
    assert read_metrics(inputs.build())["emulated"] is True
    emulated = inputs.build()
    assert "**Emulated**" in (emulated / "report.md").read_text()
    marked = [(emulated / name).read_bytes() for name in PICTURES]
    assert all(one != other for one, other in zip(pictures, marked, strict=True))
    assert marked[1] == plot_loss(read_history(inputs.root / "model"), "emulated")


def test_equal_inputs_give_equal_bytes(inputs: Inputs) -> None:
    assert digests(inputs.build("one")) == digests(inputs.build("two"))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        pytest.param("logits/start_logits.npy", b"", InternalError, id="empty-logits"),
        pytest.param("logits/end_logits.npy", b"\x93NUMPY", InternalError, id="cut-logits"),
        pytest.param("model/history.jsonl", b"{", InternalError, id="cut-history"),
        pytest.param("model/history.jsonl", b"", DataError, id="empty-history"),
        pytest.param("model/training.json", None, InternalError, id="no-training-record"),
        pytest.param("features/validation.arrow", b"x", DataError, id="no-features"),
        pytest.param("dataset/validation.arrow", None, DataError, id="no-dataset"),
    ],
)
def test_broken_inputs_are_refused(inputs: Inputs, name: str, content: bytes | None, kind: type[Exception]) -> None:
    path = inputs.root / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=path.stem):
        inputs.build()


def test_pickled_logits_are_never_unpacked(inputs: Inputs) -> None:
    path = inputs.root / "logits/start_logits.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InternalError, match="start_logits"):
        inputs.build()


def test_an_output_that_cannot_be_written_is_a_store_error(inputs: Inputs) -> None:
    (inputs.root / "out").mkdir()
    (inputs.root / "out/plots").write_text("a file")
    with pytest.raises(StoreError, match="writing the evaluation"):
        inputs.build()


def test_metrics_that_are_not_there_are_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.json"):
        read_metrics(tmp_path)
