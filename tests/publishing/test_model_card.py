"""The model card: its front matter as YAML and for the Hub, its figures, and what it must not tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podsquad.config.settings import Settings
from podsquad.config.training_settings import TrainingSettings
from podsquad.publishing.model_card import dataset_name, write_model_card

SPREAD = {"min": 1, "mean": 2.0, "p50": 2, "p95": 3, "max": 3}
COUNTS = {"records": 2100, "kept": 2000, "quarantined": 100, "contexts": 300}
REPORT: dict[str, Any] = {
    "contexts_in_several_splits": 0,
    "splits": {"train": COUNTS, "validation": COUNTS | {"kept": 612}},
}
METRICS: dict[str, Any] = {
    "exact_match": 85.26963,
    "f1": 91.745512,
    "num_questions": 10570,
    "num_empty": 3,
    "num_best": 20,
    "max_answer_tokens": 30,
    "slices": {"question_word": {"what": {"num_questions": 7, "exact_match": 50.0, "f1": 62.5}}},
}
TRAINING: dict[str, Any] = {
    "steps": 690,
    "mean_loss": 1.2528,
    "device": "NVIDIA H100",
    "versions": {"torch": "2.13.0", "transformers": "5.24.0"},
}
ORIGINS: dict[str, dict[str, Any]] = {
    "hub": {"source": "hub", "dataset": "rajpurkar/squad", "revision": "7b6d24c4"},
    "demo": {"source": "demo", "revision": None, "seed": 1984},
    "files": {
        "source": "files",
        "revision": None,
        "files": {"train": {"bytes": 1, "sha256": "a" * 64}, "validation": {"bytes": 1, "sha256": "b" * 64}},
    },
}
for _origin in ORIGINS.values():
    _origin["splits"] = {split: {"records": 1, "records_sha256": "c" * 64} for split in REPORT["splits"]}


def write(source: str = "hub", **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "name": "roberta-squad",
        "settings": Settings().model_dump(mode="json"),
        "metrics": METRICS,
        "training": TRAINING,
        "origin": ORIGINS[source],
        "report": REPORT,
    }
    return write_model_card(**(arguments | changes))


def front_matter(card: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    opening, block, _ = card.split("---\n", 2)
    assert opening == ""
    loaded: dict[str, Any] = yaml.safe_load(block)
    return loaded


@pytest.mark.parametrize("source", ORIGINS)
def test_the_front_matter_is_yaml_with_the_results(source: str) -> None:
    data = front_matter(write(source))
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "roberta-squad"
    assert result["task"]["type"] == "question-answering"
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("exact_match", 85.2696),
        ("f1", 91.7455),
    ]
    assert result["dataset"]["name"] == dataset_name(ORIGINS[source])
    # Only what the Hub can find is named as one of its data sets.
    assert data.get("datasets") == (["rajpurkar/squad"] if source == "hub" else None)
    assert data["pipeline_tag"] == "question-answering"


@pytest.mark.parametrize("source", ORIGINS)
@pytest.mark.parametrize("name", ["roberta-squad", "no", "1.0", "null"])
def test_the_hub_reads_the_front_matter(source: str, name: str) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(write(source, name=name), ignore_metadata_errors=False)
    assert card.data.model_name == name
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"exact_match": 85.2696, "f1": 91.7455}
    assert {result.task_type for result in card.data.eval_results} == {"question-answering"}
    # The reader's own writer gives the same facts again.
    again = hub.ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_the_card_tells_figures_data_and_settings() -> None:
    card = write(layout={"splits": {"train": {"num_features": 88568}}})
    for text in (
        "an exact match of **85.27** and an F1 of **91.75** on 10,570 validation questions",
        "| exact match | 85.2696 % |",
        "| train | 2,000 | 300 | 100 | 88,568 | `cccccccccccccccc` |",
        "| hardware | NVIDIA H100 |",
        "| optimizer steps | 690 |",
        "| mean loss | 1.2528 |",
        "| training.learning_rate | `6e-05` |",
        "| torch | 2.13.0 |",
        "| what | 7 | 50.00 | 62.50 |",
        "![Training loss](plots/loss.png)",
        "`rajpurkar/squad` at revision `7b6d24c4`",
    ):
        assert text in card, text
    assert "training.checkpoint_interval_steps" not in card


def test_equal_facts_give_an_equal_card() -> None:
    assert write() == write()


def test_a_card_needs_no_more_than_the_scores() -> None:
    card = write(training={}, loss_picture=None, slices_picture=None)
    assert "| hardware | not recorded |" in card
    assert "Versions were not recorded." in card
    assert "![" not in card


@pytest.mark.parametrize(
    ("field", "value"),
    [("base", "/home/ada/secret/roberta"), ("base", "../models/secret/x"), ("base", "~/secret/x")],
)
def test_paths_of_the_trainer_are_not_told(field: str, value: str) -> None:
    settings = Settings().model_dump(mode="json")
    settings["model"][field] = value
    settings["features"]["tokenizer"] = value
    card = write(settings=settings)
    assert "secret" not in card
    assert "a local folder" in card
    assert "base_model" not in front_matter(card)


def test_the_base_model_is_linked_and_scratch_is_said() -> None:
    assert front_matter(write())["base_model"] == "FacebookAI/roberta-base"
    settings = Settings().model_dump(mode="json")
    settings["model"]["base"] = "scratch"
    card = write(settings=settings)
    assert "A RoBERTa of 3 layers, width 128 and 4 heads, trained from scratch" in card
    assert "base_model" not in front_matter(card)


def test_what_weakens_the_score_is_said() -> None:
    assert "generated world" in write("demo")
    assert "7 paragraphs stand in both splits" in write(report=REPORT | {"contexts_in_several_splits": 7})
    assert "612 validation questions are few" in write(metrics=METRICS | {"num_questions": 612})
    assert "**Made on an emulator.**" in write(training=TRAINING | {"emulated": True})
    assert "emulator" not in write()


def test_no_line_holds_a_path_of_this_machine(tmp_path: Path) -> None:
    settings = Settings().model_dump(mode="json")
    settings["publish"]["folder"] = str(tmp_path)
    settings["store"]["path"] = str(tmp_path)
    assert str(tmp_path) not in write(settings=settings)


def test_the_processor_and_its_threads_are_told() -> None:
    card = write(training={"device": "cpu", "device_name": "Some CPU", "threads": 2})
    assert "| hardware | Some CPU, 2 threads |" in card


def test_one_epoch_is_told_in_the_singular() -> None:
    settings = Settings(training=TrainingSettings(epochs=1)).model_dump(mode="json")
    assert "\n1 epoch in batches" in write(settings=settings)
    assert "\n2 epochs in batches" in write()
