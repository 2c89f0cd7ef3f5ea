"""The model card: its front matter as YAML and for the Hub, its figures, and what it must not tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import podsquad
from podsquad.config.load import load_settings, parse_overrides
from podsquad.config.settings import PROFILE_NAMES, Settings
from podsquad.config.training_settings import TrainingSettings
from podsquad.publishing.model_card import write_model_card
from podsquad.publishing.model_card_training import changed_settings
from podsquad.publishing.model_card_words import dataset_name

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
GATE: dict[str, Any] = {
    "verdict": "promoted",
    "cause": None,
    "reason": "F1 went from 91.00 to 91.75.",
    "champion": "v-0123456789ab",
    "margin_f1": 1.0,
    "slice_margin_f1": 3.0,
    "resamples": 10000,
    "seed": 1984,
    "evaluation_digest": "e" * 64,
    "overall": {
        "num_questions": 10570,
        "num_articles": 48,
        "champion_f1": 91.0,
        "challenger_f1": 91.745512,
        "difference_f1": 0.745512,
        "standard_error_f1": 0.1,
        "lower_f1": 0.5,
        "upper_f1": 1.0,
        "confidence": 0.95,
    },
    "slices": [
        {"name": "question_word:why", "state": "held", "difference": {"difference_f1": -0.25}},
        {"name": "question_word:when", "state": "not_judged", "difference": None},
    ],
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
        "![F1 by kind of question](plots/f1_by_slice.png)",
        "`rajpurkar/squad` at revision `7b6d24c4`",
    ):
        assert text in card, text
    assert "training.checkpoint_interval_steps" not in card


def test_equal_facts_give_an_equal_card() -> None:
    assert write() == write()


def test_a_card_needs_no_more_than_the_scores() -> None:
    card = write(training={})
    assert "| hardware | not recorded |" in card
    assert "Versions were not recorded." in card


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


def test_the_gate_s_verdict_is_told_with_its_figures() -> None:
    card = write(gate=GATE)
    for text in (
        "**promoted**: it took the place of the model that was published before. F1 went from 91.00 to 91.75.",
        "| the model before | `v-0123456789ab` |",
        "| difference | +0.7455, between +0.5000 and +1.0000; each bound with 95.0000% confidence |",
        "| question_word:why | held | -0.2500 |",
        "| question_word:when | not judged | - |",
    ):
        assert text in card, text
    assert "scored again" not in card
    assert "| its F1 | of the same questions, on which it was scored again" in write(gate=GATE | {"is_rescored": True})
    first = write(gate={"verdict": "first", "reason": "There is no champion yet.", "overall": None, "slices": []})
    assert "**first**: there was no model before it. There is no champion yet." in first
    assert "The gate" not in write()


def test_the_command_makes_the_same_settings_again() -> None:
    settings = load_settings(
        "demo",
        {
            "training.epochs": 1,
            "model.dropout": 0.2,
            "features.tokenizer": "train",
            "publish.name": "other",
            "store.path": "/elsewhere",
        },
    ).settings
    card = write("demo", settings=settings.model_dump(mode="json"))
    command = card.split("### How to make it again\n\n```\n")[1].split("\n```")[0]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:4] == ["podsquad", "run", "--profile", "demo"]
    assignments = [word for word in words[4:] if word != "--set"]
    assert "elsewhere" not in command
    again = load_settings("demo", parse_overrides(assignments)).settings
    for section in ("data", "features", "model", "training", "runtime", "ipu", "evaluation"):
        assert getattr(again, section) == getattr(settings, section)
    assert len(assignments) == 3


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_a_profile_as_it_is_needs_no_settings(profile: str) -> None:
    files = {} if profile != "cpu" else {"data.train_file": "/a/b/train.json", "data.validation_file": "/a/b/dev.json"}
    settings = load_settings(profile, files).settings.model_dump(mode="json")
    names = ["data.train_file=TRAIN_FILE", "data.validation_file=VALIDATION_FILE"] if files else []
    assert changed_settings(settings) == names


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from (key, *leaves(part))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
FORMS = ("{}", "{:,}", "{:.1f}", "{:,.1f}", "{:.2f}", "{:.4f}", "{:.0%}", "{:.4%}", "{:g}")


def numbers_of(*facts: Any) -> set[str]:
    """Return every number that a card may tell of these facts, in each of its forms."""
    found: set[str] = set()
    for leaf in (leaf for fact in facts for leaf in leaves(fact)):
        if isinstance(leaf, int | float) and not isinstance(leaf, bool):
            rounded = [round(leaf, 4), abs(leaf)]
            found |= {form.format(each).rstrip("%") for each in (leaf, *rounded) for form in FORMS}
        elif leaf is not None:
            found |= set(NUMBER.findall(str(leaf)))
            # Checksums are told by their first digits.
            found |= {number for size in (12, 16) for number in NUMBER.findall(str(leaf)[:size])}
    return found


@pytest.mark.parametrize("source", ORIGINS)
def test_every_number_of_the_card_is_one_of_the_artifacts(source: str) -> None:
    settings = load_settings("demo", {"training.epochs": 5}).settings.model_dump(mode="json")
    training = TRAINING | {"seconds": 134.5, "samples_per_second": 1316.95, "threads": 2, "num_parameters": 124056578}
    layout = {"splits": {"train": {"num_features": 88568}}}
    card = write(source, settings=settings, training=training, layout=layout, gate=GATE)
    known = numbers_of(settings, METRICS, training, ORIGINS[source], REPORT, layout, GATE, podsquad.__version__)
    known |= {"1.1", "1"}  # SQuAD v1.1, evaluate-v1.1, and F1
    known |= {"256"}  # SHA-256
    known |= {"0"}  # the learning rate's end
    told = set(NUMBER.findall(card))
    assert told
    assert told - known == set()


def test_a_changed_evaluation_changes_the_card_everywhere() -> None:
    slices = {"question_word": {"what": {"num_questions": 8, "exact_match": 51.25, "f1": 63.75}}}
    changed = {"exact_match": 12.34567, "f1": 23.456789, "num_questions": 4321, "num_empty": 17, "slices": slices}
    before, after = write(), write(metrics=METRICS | changed)
    for gone in ("85.2696", "85.27", "91.7455", "91.75", "10,570", "62.50"):
        assert gone in before
        assert gone not in after
    for new in ("12.3457", "12.35", "23.4568", "23.46", "4,321", "| 17 |", "| what | 8 | 51.25 | 63.75 |"):
        assert new in after


def test_an_emulated_ipu_says_so_wherever_hardware_or_time_is_told() -> None:
    training = {
        "device": "ipu",
        "device_name": "16 IPUs, emulated on Some CPU (CPU)",
        "threads": 2,
        "emulated": True,
        "seconds": 134.5,
        "samples_per_second": 7.25,
    }
    card = write(training=training)
    assert "| hardware | 16 IPUs, emulated on Some CPU (CPU), 2 threads |" in card
    assert "| time | 134.5 s, emulated: not an IPU's |" in card
    assert "| features per second | 7.2, emulated: not an IPU's |" in card
    assert "| hardware | POD16, emulated |" in write(training={"device_name": "POD16", "emulated": True})
    assert "emulated" not in write(training=training | {"emulated": False, "device_name": "16 IPUs"})


def test_the_class_is_named_where_it_is_known() -> None:
    card = write(architecture="RobertaForQuestionAnswering")
    assert "fine-tuned (a `RobertaForQuestionAnswering`) for extractive question answering" in card


@pytest.mark.parametrize(
    ("training", "is_exact"),
    [
        ({"device": "cpu", "processes": 1}, True),
        ({"device": "cuda"}, True),
        ({"device": "cuda", "processes": 8}, False),
        ({"device": "ipu"}, False),
        ({"device": "ipu", "emulated": True}, False),
        ({}, False),
    ],
)
def test_equal_bytes_are_promised_only_where_they_were_shown(training: dict[str, Any], is_exact: bool) -> None:
    card = write(training=training)
    assert ("byte for byte" in card) is is_exact
    assert ("was not shown" in card) is not is_exact


def test_the_demo_encoder_is_named() -> None:
    settings = load_settings("demo").settings.model_dump(mode="json")
    assert "The small encoder that ships with podsquad, fine-tuned" in write("demo", settings=settings)
