"""Down to the data: questions held against a receipt by checksum, and the dataset built from them again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.data_settings import DataSettings
from podsquad.data.dataset import build_dataset, read_origin, read_questions
from podsquad.data.demo.world import make_demo_world
from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.evaluation.scored import evaluation_digest
from podsquad.evaluation.squad_metric import score_answers
from podsquad.publishing import verify_data as verifying
from podsquad.publishing.findings import Finding
from podsquad.publishing.receipt import ListedFile, Receipt, Scores
from podsquad.publishing.verify import Published
from podsquad.publishing.verify_data import verify_data
from podsquad.stages.libraries import library_versions
from podsquad.store.contents import FileDigest, digest_file
from podsquad.store.durable import encode_lines
from tests.publishing.receipts import make_artifacts

SIZES = {"demo_seed": 5, "demo_train_questions": 40, "demo_validation_questions": 12}


@pytest.fixture
def questions(tmp_path: Path) -> dict[str, Path]:
    """Write two files of questions; return their places by split."""
    world = make_demo_world(5, 40, 12)
    for split, document in (("train", world.train), ("validation", world.validation)):
        (tmp_path / f"{split}.json").write_text(json.dumps(document), encoding="utf-8")
    return {split: tmp_path / f"{split}.json" for split in ("train", "validation")}


class Case:
    """A receipt whose dataset is the one that these settings give, and the answers that are published with it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        receipt = receipt_of(folder, settings)
        questions = read_questions(folder / "dataset", "validation")
        # Right but for the first, which is half right.
        self.answers = [answers[0] for answers in questions.answers]
        self.answers[0] += " " + " ".join(["and", "more"] * len(self.answers[0].split()))
        self.ids = questions.ids
        scores = score_answers(self.answers, questions.answers)
        assert 0 < scores.exact_match < scores.f1 < 100
        told = Scores(
            exact_match=scores.exact_match,
            f1=scores.f1,
            num_questions=scores.num_questions,
            evaluation_digest=evaluation_digest(questions),
        )
        self.receipt = receipt.model_copy(update={"scores": told})

    def findings(self, *data: object) -> list[Finding]:
        rows = [{"id": key, "prediction": text} for key, text in zip(self.ids, self.answers, strict=True)]
        content = encode_lines(rows)  # as the evaluate stage writes them
        published = Published(
            "here", frozenset(["questions.jsonl"]), lambda name: content, lambda name: FileDigest(len(content), "")
        )
        return list(verify_data(self.receipt, published, list(map(str, data))))

    def states(self, *data: object) -> dict[str, str]:
        return {Path(each.name).name: each.state for each in self.findings(*data)}

    def change_download(self, **changes: Any) -> None:
        stage = self.receipt.stages["download"]
        stages = {**self.receipt.stages, "download": stage.model_copy(update=changes)}
        self.receipt = self.receipt.model_copy(update={"stages": stages})


def receipt_of(folder: Path, settings: dict[str, Any]) -> Receipt:
    """Return a receipt whose dataset is the one that these settings give."""
    dataset = folder / "dataset"
    dataset.mkdir()
    build_dataset(DataSettings(**settings), dataset, log=lambda line: None)
    receipt = make_artifacts(folder).receipt()
    files = {
        path.name: ListedFile.model_validate(digest_file(path)._asdict())
        for path in dataset.iterdir()
        if path.is_file()
    }
    stage = receipt.stages["download"]
    shaping = {f"data.{name}": value for name, value in settings.items() if not name.endswith("_file")}
    ingredients = stage.ingredients.model_copy(
        update={"settings": shaping, "libraries": library_versions(["pyarrow", "datasets"])}
    )
    download = stage.model_copy(update={"files": files, "ingredients": ingredients})
    stages = {**receipt.stages, "download": download}
    return receipt.model_copy(update={"data": read_origin(dataset), "stages": stages})


def files_settings(questions: dict[str, Path]) -> dict[str, Any]:
    return {"source": "files", **{f"{split}_file": path for split, path in questions.items()}}


def test_the_questions_of_a_model_give_its_dataset_and_scores_again(tmp_path: Path, questions: dict[str, Path]) -> None:
    case = Case(tmp_path, files_settings(questions))
    assert case.states(questions["validation"], questions["train"]) == {
        "validation.json": "ok",
        "train.json": "ok",
        "dataset": "ok",
        "scores": "ok",
    }
    # The validation split alone is enough for the scores.
    assert case.states(questions["validation"]) == {
        "validation.json": "ok",
        "dataset": "not checked",
        "scores": "ok",
    }


def test_the_same_questions_in_another_file_are_known_by_their_records(
    tmp_path: Path, questions: dict[str, Path]
) -> None:
    case = Case(tmp_path, files_settings(questions))
    packed = tmp_path / "packed.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(json.loads(questions["train"].read_text()), indent=4).encode()))
    assert case.states(packed) == {"packed.json.gz": "ok", "dataset": "not checked"}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_changed_question_is_found(tmp_path: Path, questions: dict[str, Path], split: str) -> None:
    case = Case(tmp_path, files_settings(questions))
    text = questions[split].read_text(encoding="utf-8")
    questions[split].write_text(text.replace("?", "!", 1), encoding="utf-8")
    found = case.states(*questions.values())
    assert found[f"{split}.json"] == "changed"
    assert found["dataset"] == "not checked"


def test_the_demo_world_is_made_again(tmp_path: Path) -> None:
    case = Case(tmp_path, {"source": "demo", **SIZES})
    assert case.states("demo") == {"dataset": "ok", "scores": "ok"}
    ingredients = case.receipt.stages["download"].ingredients
    other = ingredients.model_copy(update={"settings": ingredients.settings | {"data.demo_seed": 6}})
    case.change_download(ingredients=other)
    (finding,) = case.findings("demo")
    assert (finding.state, "train.arrow" in finding.told) == ("changed", True)
    case.change_download(ingredients=ingredients.model_copy(update={"settings": {"data.demo_seed": "no"}}))
    (finding,) = case.findings("demo")
    assert (finding.state, "cannot be built again" in finding.told) == ("changed", True)


def test_an_answer_with_a_line_separator_of_unicode_is_one_line(tmp_path: Path) -> None:
    case = Case(tmp_path, SIZES)
    case.answers[1] += "\u2028\x85"  # white space to the metric
    assert case.states("demo")["scores"] == "ok"


def test_answers_that_do_not_reach_the_scores_are_found(tmp_path: Path) -> None:
    case = Case(tmp_path, {"source": "demo", **SIZES})
    case.answers[1] = "something else"
    (finding,) = [each for each in case.findings("demo") if each.name == "scores"]
    assert (finding.state, "the answers reach" in finding.told) == ("changed", True)
    case.ids[1] = "of no question"
    assert case.states("demo")["scores"] == "changed"


@pytest.mark.parametrize("prediction", [5, None, ["Ada"]], ids=repr)
def test_an_answer_that_is_no_text_is_found(tmp_path: Path, prediction: Any) -> None:
    case = Case(tmp_path, {"source": "demo", **SIZES})
    case.answers[1] = prediction
    (finding,) = [each for each in case.findings("demo") if each.name == "scores"]
    assert (finding.state, finding.told) == ("changed", "questions.jsonl cannot be read")


def test_scores_on_other_questions_are_found(tmp_path: Path) -> None:
    case = Case(tmp_path, {"source": "demo", **SIZES})
    scores = case.receipt.scores.model_copy(update={"evaluation_digest": "e" * 64})
    case.receipt = case.receipt.model_copy(update={"scores": scores})
    (finding,) = [each for each in case.findings("demo") if each.name == "scores"]
    assert finding.told == "these are not the questions that the model was scored on"


def test_another_library_s_bytes_are_not_called_changed(
    tmp_path: Path, questions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path, files_settings(questions))
    stage = case.receipt.stages["download"]
    case.change_download(
        files=stage.files | {"train.arrow": ListedFile(num_bytes=1, sha256="a" * 64)},
        ingredients=stage.ingredients.model_copy(
            update={"libraries": stage.ingredients.libraries | {"pyarrow": "1.0"}}
        ),
    )
    assert case.states(*questions.values())["dataset"] == "not checked"
    monkeypatch.setattr(verifying, "library_versions", lambda names: dict.fromkeys(names, "1.0"))
    assert case.states(*questions.values())["dataset"] == "changed"


def test_what_cannot_be_read_is_an_error(tmp_path: Path, questions: dict[str, Path]) -> None:
    case = Case(tmp_path, files_settings(questions))
    with pytest.raises(InputMissingError):
        case.states(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError):
        case.states(tmp_path / "broken.json")
    with pytest.raises(SettingsError, match="not trained on the demo world"):
        case.states("demo")
