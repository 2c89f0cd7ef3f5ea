"""The claims of a receipt: a forged one is found from the receipt or in the store, or is told as not checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import RECEIPT_FILE, TRAINING_FILES, version_key
from podsquad.store.durable import encode_json
from podsquad.store.keys import key_of
from tests.publishing.receipts import PROMOTED, Made, make_artifacts
from tests.publishing.test_verify import ALL, STATEMENTS, faults, flip, look, publish, unchecked


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_artifacts(tmp_path)


@pytest.fixture
def version(made: Made, tmp_path: Path) -> Path:
    return publish(made, tmp_path / "published")


def forge(version: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the receipt and all that names it, as somebody would who wants to be believed; return its folder."""
    told = json.loads((version / RECEIPT_FILE).read_bytes())
    change(told)
    (version / RECEIPT_FILE).write_bytes(encode_json(told))
    names = [name for name in ALL if name != FILES_FILE]
    key = version_key((version / RECEIPT_FILE).read_bytes())
    (version / FILES_FILE).write_bytes(Listing.of(key, {name: version / name for name in names}).encode())
    return version.rename(version.with_name("copy"))


def at(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what puts the value there."""

    def change(told: Any) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("stages", "train", "ingredients", "settings", "training.seed"), 7, {"stages.train", "seed"}),
        (("stages", "train", "ingredients", "libraries", "numpy"), "9.9", {"stages.train"}),
        (("stages", "train", "files", "history.jsonl", "sha256"), "a" * 64, {"stages.train"}),
        (("stages", "download", "digest"), "a" * 64, {"stages.download", "stages.tokenize", "stages.evaluate"}),
        (("stages", "download", "ingredients", "stage"), "train", {"stages.download"}),
        (("published", "config.json", "source"), "train/model/tokenizer.json", {"published.config.json"}),
        (("published", "config.json", "source"), "", {"published.config.json"}),
        (("published", "config.json", "source"), "nowhere/config.json", {"published.config.json"}),
        (("scores", "f1"), 99.5, {"scores"}),
        (("scores", "evaluation_digest"), "f" * 64, {"scores", "gate"}),
        (("seed",), 7, {"seed"}),
        (("data", "source"), "hub", {"data"}),
        (("data", "revision"), "forged", {"data"}),
        (("data", "files", "train", "sha256"), "f" * 64, {"data"}),
        (("data", "splits", "validation", "records_sha256"), "f" * 64, {"data"}),
        (("data", "more"), "more", {"data"}),
        (("gate", "verdict"), "promoted", {"gate"}),
        (("gate", "verdict"), "rejected", {"gate"}),
        (("gate", "verdict"), "unheard of", {"gate"}),
        (("gate", "verdict"), "unchanged", {"gate"}),
        (("gate", "cause"), "worse", {"gate"}),
        (("gate", "champion"), "v-0123456789ab", {"gate"}),
        (("gate", "evaluation_digest"), "f" * 64, {"gate"}),
        (("gate", "seed"), 7, {"gate"}),
        (("gate", "overall"), PROMOTED["overall"], {"gate"}),
        (("gate",), {"verdict": "first"}, {"gate"}),
    ],
)
def test_a_claim_that_does_not_follow_from_the_others_is_named(
    version: Path, path: tuple[str, ...], value: Any, named: set[str]
) -> None:
    assert set(faults(look(forge(version, at(path, value))))) == named


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "first"),
        (("verdict",), "incomparable"),
        (("champion",), None),
        (("overall",), None),
        (("overall",), "none"),
        (("overall", "challenger_f1"), 88.5),
        (("overall", "champion_f1"), 80.0),
        (("overall", "difference_f1"), 7.0),
        (("overall", "num_questions"), 11),
        (("overall", "lower_f1"), -1.5),
        (("margin_f1",), 0.25),
        (("slice_margin_f1",), 0.25),
        (("slices", 0, "difference", "upper_f1"), -3.5),
        (("slices", 0, "state"), "fell"),
        (("slices", 0), {}),
    ],
)
def test_a_promotion_that_its_own_figures_do_not_bear_out_is_named(
    made: Made, tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    version = publish(made, tmp_path / "published", gate=made.gate(PROMOTED))
    assert look(version).is_whole
    assert set(faults(look(forge(version, at(("gate", *path), value))))) == {"gate"}


def test_a_receipt_without_a_gate_says_so(made: Made, tmp_path: Path) -> None:
    found = look(publish(made, tmp_path / "published", gate=None))
    assert found.is_whole
    assert unchecked(found) == {"gate", "podsquad", "hardware"}


@pytest.mark.parametrize(
    ("name", "value"), [("kind", "ipu"), ("name", "POD16"), ("threads", 16), ("threads", None), ("processes", 8)]
)
def test_forged_hardware_is_found_in_the_store(made: Made, version: Path, name: str, value: Any) -> None:
    copy = forge(version, at(("hardware", name), value))
    assert "hardware" in unchecked(look(copy))
    found = look(copy, store=made.store)
    assert faults(found) == {"hardware": "changed"}
    assert f"{name} was" in found.faults[0].told


@pytest.mark.parametrize("record", TRAINING_FILES)
def test_hardware_is_not_held_against_a_damaged_record(made: Made, version: Path, record: str) -> None:
    flip(made.artifacts["train"].path / record, 3)
    found = look(version, store=made.store)
    assert list(faults(found)) == [f"train/{made.artifacts['train'].key}/{record}"]
    assert unchecked(found) == STATEMENTS | {"hardware"}


def test_a_record_of_the_training_that_is_none_is_told(tmp_path: Path) -> None:
    made = make_artifacts(tmp_path, files={"train": {"training.json": "[]"}})
    assert faults(look(publish(made, tmp_path / "published"), store=made.store)) == {"hardware": "changed"}


def test_a_forged_chain_is_found_in_the_store(made: Made, version: Path) -> None:
    """Whoever makes up weights, and all that follows from them, cannot put them into the trainer's store."""

    def change(told: dict[str, Any]) -> None:
        train = told["stages"]["train"]
        train["ingredients"]["settings"]["training.seed"] = told["seed"] = 7
        train["key"] = key_of(train["ingredients"])

    copy = forge(version, change)
    assert look(copy).is_whole
    found = look(copy, store=made.store)
    assert list(faults(found).values()) == ["missing"]
    assert next(iter(faults(found))).startswith("train/")
