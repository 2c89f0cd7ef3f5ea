"""Estimates: the batch arithmetic of a plan, and what is told when artifacts are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podsquad.config.load import load_settings
from podsquad.estimates import estimate


@pytest.fixture
def features(tmp_path: Path) -> Path:
    layout = {"splits": {"train": {"num_features": 100, "num_tokens": 12_000, "longest_tokens": 150}}}
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    return tmp_path


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    folder = tmp_path / "executable"
    folder.mkdir()
    memory = {"total_bytes": 7 * 2**20, "assumptions": "as assumed"}
    (folder / "plan.json").write_text(json.dumps({"memory": memory, "num_parameters": 2**18}))
    return folder


def told(features: Path | None, executable: Path | None, **overrides: object) -> dict[str, tuple[str, str]]:
    settings = load_settings("demo", {name.replace("__", "."): value for name, value in overrides.items()}).settings
    return {each.name: (each.value, each.how) for each in estimate(settings, features, executable)}


def test_steps_and_tokens_are_counted_in_the_features(features: Path) -> None:
    figures = told(features, None, training__batch_size=32, training__epochs=3)
    assert figures["steps"] == ("12", "100 features in batches of 32, the last of 4 smaller, 3 times")
    assert figures["tokens per step"][0] == "3,840"
    assert figures["memory"][0] == "not known yet"


def test_a_last_batch_that_is_left_out_takes_no_step(features: Path) -> None:
    figures = told(features, None, training__batch_size=32, training__epochs=3, training__drop_last=True)
    assert figures["steps"] == ("9", "100 features in batches of 32, the last of 4 left out, 3 times")


def test_memory_and_disk_come_from_the_executable(features: Path, executable: Path) -> None:
    figures = told(features, executable)
    assert figures["memory of a step"] == ("7 MiB", "as assumed")
    # 2**18 parameters of 4 bytes: 3 checkpoints of 3 arrays each, a model and its publication.
    assert figures["disk while training"][0] == "11 MiB"


def test_without_features_nothing_can_be_told() -> None:
    assert told(None, None) == {"steps": ("not known yet", "the features are still to be made")}


def test_what_cannot_be_is_told(features: Path) -> None:
    figures = told(features, None, training__batch_size=200, training__drop_last=True)
    assert figures["steps"][0] == "not possible"
    assert "training.batch_size 200 is larger" in figures["steps"][1]
