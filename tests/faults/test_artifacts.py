"""Every file of every artifact, cut short or with one bit turned: found, set aside, and built again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.store.artifacts import MANIFEST_FILE, Store
from tests.faults.place import Place


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {"cut": cut, "bit": turn_a_bit}


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow; what outlives a power cut is tests/store's matter


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_damage_to_any_file_is_found_set_aside_and_built_again(stage: StageName, damage: str, place: Place) -> None:
    whole = place.chain.artifact(stage)
    ingredients = json.loads((whole.path / MANIFEST_FILE).read_text(encoding="utf-8"))["ingredients"]
    store, home = Store(place.store), place.store / stage
    artifact, lines = home / whole.key, []
    shutil.copytree(whole.path, artifact)

    def build(output: Path, work: Path, handle: int) -> None:
        shutil.copytree(whole.path, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST_FILE))

    names = [path.relative_to(whole.path) for path in place.chain.files(stage) if path.stat().st_size > 0]
    assert len(names) >= 3
    for name in names:
        DAMAGES[damage](artifact / name)
        os.utime(artifact / name, ns=(1, 1))  # a clock's tick may be longer than this loop's turn
        spoilt = (artifact / name).read_bytes()
        found = store.look_up(stage, whole.key)
        assert found.artifact is None, name
        lines.clear()
        again, was_there = store.ensure(ingredients, build, log=lines.append)
        assert (was_there, again.digest) == (False, whole.digest), name
        assert "it is set aside and built again" in lines[0]
        (aside,) = (home / ".damaged").iterdir()
        assert (aside / name).read_bytes() == spoilt
        shutil.rmtree(aside)
    place.check_secrets()


@pytest.mark.parametrize("stage", ["download", "tokenize"])
def test_a_damaged_artifact_is_built_again_by_its_stage(stage: StageName, place: Place) -> None:
    made = place.run(stage).artifact
    largest = max((path for path in made.path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    turn_a_bit(largest)
    os.utime(largest, ns=(1, 1))
    again = place.run(stage)
    assert not again.is_reused
    assert (again.artifact.key, again.artifact.digest) == (made.key, made.digest)
    assert any("it is set aside and built again" in line for line in place.told.lines)
    assert again.reason.startswith("its artifact has a ")
    place.check_secrets()
