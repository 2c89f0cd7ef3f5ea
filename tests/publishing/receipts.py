"""Artifacts as the stages leave them, small, and the receipt of a publication of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from podsquad.publishing.receipt import STAGES, Receipt, make_receipt, read_stage_record
from podsquad.publishing.version_files import gate_seed, model_digest
from podsquad.store.artifacts import Artifact, Store
from podsquad.store.contents import digest_file
from podsquad.store.durable import encode_json
from podsquad.store.keys import make_ingredients

ORIGIN: dict[str, Any] = {
    "source": "files",
    "revision": None,
    "files": {split: {"bytes": 9, "sha256": digit * 64} for split, digit in (("train", "a"), ("validation", "b"))},
    "splits": {split: {"records": 1, "records_sha256": "c" * 64} for split in ("train", "validation")},
}
TRAINING: dict[str, Any] = {
    "steps": 3,
    "mean_loss": 0.5,
    "final_loss": 0.25,
    "device": "cpu",
    "device_name": "Some CPU",
    "threads": 2,
    "processes": 1,
    "versions": {"torch": "2.13.0"},
}
METRICS: dict[str, Any] = {
    "exact_match": 75.0,
    "f1": 87.5,
    "num_questions": 10,
    "evaluation_digest": "e" * 64,
    "slices": {"question_word": {"who": {"num_questions": 10, "exact_match": 75.0, "f1": 87.5}}},
}
GATE: dict[str, Any] = {
    "verdict": "first",
    "cause": None,
    "reason": "There is no champion yet.",
    "evaluation_digest": METRICS["evaluation_digest"],
    "margin_f1": 1.0,
    "slice_margin_f1": 3.0,
    "resamples": 10000,
    "overall": None,
    "slices": (),
    "champion": None,
    "is_rescored": False,
}
PROMOTED: dict[str, Any] = GATE | {
    "verdict": "promoted",
    "reason": "F1 went from 87.00 to 87.50.",
    "champion": "v-0123456789ab",
    "overall": {
        "num_questions": METRICS["num_questions"],
        "num_articles": 5,
        "champion_f1": 87.0,
        "challenger_f1": METRICS["f1"],
        "difference_f1": 0.5,
        "standard_error_f1": 0.5,
        "lower_f1": -0.5,
        "upper_f1": 1.5,
        "confidence": 0.95,
    },
    "slices": (
        {"name": "question_word:who", "state": "held", "difference": {"upper_f1": -1.0}},
        {"name": "question_word:why", "state": "not_judged", "difference": None},
    ),
}
_FILES: dict[str, dict[str, Any]] = {
    "download": {"train.arrow": "questions", "origin.json": ORIGIN},
    "tokenize": {"layout.json": {"max_length": 192, "stride": 64}, "tokenizer/tokenizer.json": {"model": {}}},
    "compile": {"plan.json": {"compiled": False}, "programs/native": "code", "record/compile.json": {"seconds": 1.5}},
    "train": {
        "model/config.json": {"model_type": "roberta"},
        "model/model.safetensors": "weights",
        "model/tokenizer.json": {"model": {}},
        "history.jsonl": '{"step": 1, "loss": 0.5}\n',
        "training.json": {name: TRAINING[name] for name in ("steps", "device", "processes")},
        "record/training.json": {name: TRAINING[name] for name in ("device_name", "threads")},
    },
    "evaluate": {"metrics.json": METRICS, "predictions.json": {"q": "Ada"}, "plots/loss.png": "picture"},
}
_INPUTS = {
    "download": (),
    "tokenize": ("download",),
    "compile": ("tokenize",),
    "train": ("tokenize", "compile"),
    "evaluate": ("download", "tokenize", "train"),
}
PUBLISHED = {
    "config.json": "train/model/config.json",
    "model.safetensors": "train/model/model.safetensors",
    "tokenizer.json": "train/model/tokenizer.json",
    "metrics.json": "evaluate/metrics.json",
    "plots/loss.png": "evaluate/plots/loss.png",
    "layout.json": "tokenize/layout.json",
}


@dataclass(frozen=True)
class Made:
    """A store with the five artifacts of a model, and the files to publish by name."""

    store: Path
    artifacts: Mapping[str, Artifact]
    files: Mapping[str, Path]

    def gate(self, gate: Mapping[str, Any] = GATE) -> dict[str, Any]:
        """Return what the gate tells of this model: by its seed it is of no other."""
        digests = {name: digest_file(path).sha256 for name, path in self.files.items()}
        return {**gate, "seed": gate_seed(model_digest(digests))}

    def receipt(self, **changes: Any) -> Receipt:
        """Return the receipt of the publication of these files."""
        arguments: dict[str, Any] = {
            "stages": {name: read_stage_record(artifact.path) for name, artifact in self.artifacts.items()},
            "origin": ORIGIN,
            "training": TRAINING,
            "metrics": METRICS,
            "gate": self.gate(),
            "published": {name: digest_file(path) for name, path in self.files.items()},
            "version": "0.1.0",
        }
        return make_receipt(**(arguments | changes))


def make_artifacts(
    folder: Path,
    *,
    seed: int = 1984,
    weights: str = "weights",
    libraries: Mapping[str, str] | None = None,
    files: Mapping[str, Mapping[str, str]] | None = None,
) -> Made:
    """Build the artifacts in ``folder``/store, some files by stage with other content, and write a card beside it."""
    with mock.patch.object(os, "fsync"):  # slow; what outlives a power cut is tests/store's matter
        return _make(folder, seed, weights, libraries or {"numpy": "2.4.1"}, files or {})


def _make(
    folder: Path, seed: int, weights: str, libraries: Mapping[str, str], files: Mapping[str, Mapping[str, str]]
) -> Made:
    store, artifacts = Store(folder / "store"), dict[str, Artifact]()
    for stage in STAGES:
        ingredients = make_ingredients(
            stage=stage,
            format_version=1,
            settings={"training.seed": seed} if stage == "train" else {},
            inputs={name: artifacts[name].digest for name in _INPUTS[stage]},
            code={f"podsquad.{stage}": "0" * 16},
            libraries=libraries,
        )

        def build(output: Path, work: Path, handle: int, stage: str = stage) -> None:
            for name, content in {**_FILES[stage], **files.get(stage, {})}.items():
                path = output / name
                path.parent.mkdir(parents=True, exist_ok=True)
                text = weights if name == "model/model.safetensors" else content
                path.write_bytes(text.encode() if isinstance(text, str) else encode_json(text))

        artifacts[stage], _ = store.ensure(ingredients, build, log=lambda line: None)
    card = folder / "card.md"
    card.write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    sources = {name: source.partition("/") for name, source in PUBLISHED.items()}
    published = {name: artifacts[stage].path / file for name, (stage, _, file) in sources.items()}
    return Made(folder / "store", artifacts, published | {"README.md": card})
