"""Nothing new on a store that knows nothing: the champion's receipt decides, and only where every key is the same."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.settings import Settings
from podsquad.errors import TemporaryError
from podsquad.publishing import places
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.receipt import STAGES as BEFORE_PUBLISH
from podsquad.publishing.receipt import encode_receipt, make_receipt, read_stage_record, version_key
from podsquad.publishing.version_files import gate_seed, model_of
from podsquad.stages.catalog import STAGES
from podsquad.stages.stage import Building
from podsquad.store.contents import digest_file
from podsquad.unchanged import Unchanged, find_unchanged
from podsquad.views import verdict_view
from tests.publishing.conftest import hub_client, place  # noqa: F401
from tests.publishing.hub_place import REPOSITORY, TOKEN, Place
from tests.publishing.receipts import METRICS, ORIGIN, TRAINING
from tests.stages.fakes import FakeStages


@dataclass
class Room:
    """A target that holds what the stand-ins made with the settings, and the store that they made it in."""

    fakes: FakeStages
    settings: Settings
    files: dict[str, Path]
    """Of the champion."""
    lines: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.settings.store.path

    @property
    def target(self) -> FolderTarget:
        return FolderTarget(self.settings.publish.folder, self.settings.publish.name)

    def find(self, **overrides: Any) -> Unchanged | None:
        return find_unchanged(self.fakes.settings(**overrides), self.lines.append)


@pytest.fixture
def room(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Room:
    build = STAGES["train"].build

    def train(building: Building) -> None:
        build(building)
        (building.output / "model").mkdir()
        (building.output / "model/model.safetensors").write_text("weights")

    monkeypatch.setitem(STAGES, "train", replace(STAGES["train"], build=train))
    settings = fake_stages.settings()
    outcomes = fake_stages.run_all(settings)
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"exact_match": 75.0, "f1": 87.5, "num_questions": 10, "evaluation_digest": "e"}')
    files = {"model.safetensors": outcomes["train"].artifact.path / "model/model.safetensors"}
    receipt = make_receipt(
        stages={name: read_stage_record(outcomes[name].artifact.path) for name in BEFORE_PUBLISH},
        origin=ORIGIN,
        training=TRAINING,
        metrics=METRICS,
        gate={"verdict": "first"},
        published={name: digest_file(path) for name, path in files.items()},
        version="0.1.0",
    )
    content = encode_receipt(receipt)
    (tmp_path / "receipt.json").write_bytes(content)
    files |= {"receipt.json": tmp_path / "receipt.json", "metrics.json": metrics}
    made = Room(fake_stages, settings, files)
    made.target.publish(version_key(content), files, lambda folder: None)
    return made


def test_an_empty_store_and_the_same_inputs_are_unchanged(room: Room) -> None:
    shutil.rmtree(room.store)
    found = room.find()
    assert found is not None
    assert found.publication.key == room.target.state().champion.key  # type: ignore[union-attr]
    assert (found.verdict["verdict"], found.verdict["is_published"]) == ("unchanged", False)
    assert found.verdict["challenger"] == {"exact_match": 75.0, "f1": 87.5, "num_questions": 10}
    assert found.verdict["num_earlier_uses"] is None
    gate, champion = room.settings.gate, room.target.state().champion
    assert champion
    assert found.verdict["challenger_digest"] == found.verdict["champion_digest"] == model_of(champion.listing)
    assert (found.verdict["evaluation_digest"], found.verdict["margin_f1"]) == ("e", gate.margin_f1)
    assert (found.verdict["seed"], found.verdict["passes"]) == (gate_seed(model_of(champion.listing)), False)
    assert f"`{champion.tag}`" in verdict_view(found.verdict).markdown
    assert not room.store.exists()


def test_a_store_that_has_the_model_goes_its_usual_way_and_the_target_is_not_asked(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(room.store / "evaluate")
    monkeypatch.setattr(places, "FolderTarget", None)
    assert room.find() is None
    (damaged,) = (room.store / "compile").glob("*/manifest.json")
    damaged.write_text("{")
    assert room.find() is None


@pytest.mark.parametrize("begun", [(), ("download",), ("download", "tokenize", "compile")], ids=len)
def test_a_night_that_died_before_its_model_was_made_does_not_make_the_champion_again(
    room: Room, begun: tuple[str, ...]
) -> None:
    for stage in {"download", "tokenize", "compile", "train", "evaluate"} - set(begun):
        shutil.rmtree(room.store / stage)
    assert room.find() is not None


@pytest.mark.parametrize(
    "overrides",
    [{"training__seed": 5}, {"evaluation__num_best": 5}, {"data__demo_seed": 5}, {"publish__name": "other"}],
    ids=str,
)
def test_what_another_setting_makes_is_new(room: Room, overrides: dict[str, Any]) -> None:
    shutil.rmtree(room.store)
    assert room.find(**overrides) is None


def test_another_version_of_a_library_makes_something_new(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(room.store)
    monkeypatch.setitem(STAGES, "evaluate", replace(STAGES["evaluate"], libraries=("numpy",)))
    assert room.find() is None


@pytest.mark.parametrize("name", ["model.safetensors", "receipt.json", "files.json"])
def test_a_damaged_champion_is_not_taken_for_it(room: Room, name: str) -> None:
    shutil.rmtree(room.store)
    (room.target.pointer / name).write_text("{}")
    assert room.find() is None


def test_a_repair_that_was_killed_in_between_is_seen_to_its_end_before_the_champion_is_called_lost(room: Room) -> None:
    shutil.rmtree(room.store)
    version = room.target.pointer.resolve()
    # Whole, in truth: the question is whether it is looked for.
    version.rename(room.target.home / f".damaged-{version.name}")
    assert room.find() is not None


def test_a_champion_whose_publisher_was_killed_before_it_tagged_it_is_not_made_again(
    room: Room,
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = version_key(room.files["receipt.json"].read_bytes())
    publication = place.target().publish(key, room.files, lambda folder: None)
    shutil.rmtree(room.store)
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=place.server.endpoint))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    commit = place.repository().tags.pop(publication.tag)
    place.repository().create_branch(f"podsquad-candidate-{key[:12]}-20990101T000000Z", "main")
    found = room.find(publish__target="hub", publish__repository=REPOSITORY)
    assert found is not None
    assert found.publication.key == key
    assert place.repository().tags == {publication.tag: commit}
    assert set(place.repository().branches) == {"main"}


def test_a_target_that_does_not_answer_lets_the_night_go_its_usual_way(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(room.store)

    def silent(*arguments: Any) -> FolderTarget:
        raise TemporaryError("the Hub does not answer")

    monkeypatch.setattr(places, "FolderTarget", silent)
    assert room.find() is None
    assert room.lines == ["whether anything is new is not known beforehand: the Hub does not answer"]
