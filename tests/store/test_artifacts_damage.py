"""The store: what is damaged is never trusted, is set aside, and is built again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podsquad.store.durable import write_json
from tests.store.shelf import KEY, Shelf


def overwrite(name: str, content: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / name).write_text(content)
        os.utime(path / name, ns=(1, 1))  # a clock's tick may be longer than this test

    return damage


def edit_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest)
        write_json(path / "manifest.json", manifest)

    return damage


def swap_file_for_folder(path: Path) -> None:
    (path / "model" / "weights").unlink()
    (path / "model" / "weights").mkdir()


def swap_artifact_for_file(path: Path) -> None:
    path.rename(path.with_name("gone"))
    path.write_text("")


DAMAGES = {
    "same-size": (overwrite("model/weights", "WEIGHTS"), "has a changed file model/weights"),
    "grown": (overwrite("model/weights", "weights and more"), "has a changed file model/weights"),
    "emptied": (overwrite("model/weights", ""), "has a changed file model/weights"),
    "record": (overwrite("record/file", "CALL 1"), "has a changed file record/file"),
    "programs": (overwrite("programs/file", "CALL 1"), "has a changed file programs/file"),
    "missing": (lambda path: (path / "model" / "weights").unlink(), "lacks its file model/weights"),
    "missing-record": (lambda path: (path / "record" / "file").unlink(), "lacks its file record/file"),
    "folder": (swap_file_for_folder, "has a file model/weights that cannot be read: Is a directory"),
    "no-manifest": (lambda path: (path / "manifest.json").unlink(), "lacks its manifest.json"),
    "cut-manifest": (lambda path: os.truncate(path / "manifest.json", 100), "has a manifest.json that cannot be read"),
    "empty-manifest": (overwrite("manifest.json", ""), "has a manifest.json that cannot be read"),
    "list-manifest": (overwrite("manifest.json", "[]"), "has a manifest.json that cannot be read"),
    "binary-manifest": (
        lambda path: (path / "manifest.json").write_bytes(b"\xff\x00"),
        "has a manifest.json that cannot be read",
    ),
    "files-are-a-list": (edit_manifest(lambda m: m.update(files=[])), "has a manifest.json that cannot be read"),
    "no-digest": (edit_manifest(lambda m: m.pop("digest")), "has a manifest.json that cannot be read"),
    "other-digest": (edit_manifest(lambda m: m.update(digest="0" * 64)), "has a manifest that does not fit it"),
    "other-stage": (edit_manifest(lambda m: m.update(stage="compile")), "has a manifest that does not fit it"),
    "other-key": (edit_manifest(lambda m: m.update(key="0" * 32)), "has a manifest that does not fit it"),
    "other-format": (edit_manifest(lambda m: m.update(manifest_format=2)), "has a manifest that does not fit it"),
    "other-settings": (
        edit_manifest(lambda m: m["ingredients"]["settings"].update(x=1)),
        "has a manifest that does not fit it",
    ),
    "forgets-a-file": (
        edit_manifest(lambda m: m["files"].pop("model/weights")),
        "has a manifest that does not fit it",
    ),
    "other-size": (
        edit_manifest(lambda m: m["files"]["model/weights"].update(num_bytes=8)),
        "has a changed file model/weights",
    ),
    "is-a-file": (swap_artifact_for_file, "cannot be read: Not a directory"),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_artifact_is_set_aside_and_built_again(
    damage: Callable[[Path], Any], problem: str, shelf: Shelf
) -> None:
    built, _ = shelf.ensure()
    damage(shelf.path)
    found = shelf.store.look_up("train", KEY)
    assert found.artifact is None
    assert found.problem == problem
    assert not found.is_stale
    again, was_there = shelf.ensure()
    assert not was_there
    assert again.digest == built.digest
    assert shelf.lines == [f"the artifact {KEY} {problem}; it is set aside and built again"]
    assert [path.name.partition("-")[0] for path in (shelf.home / ".damaged").iterdir()] == [KEY]
    assert shelf.store.look_up("train", KEY).artifact == again


def test_a_manifest_that_can_be_read_tells_the_digest_of_what_is_lost(shelf: Shelf) -> None:
    built, _ = shelf.ensure()
    (shelf.path / "model" / "weights").unlink()
    assert shelf.store.look_up("train", KEY).expected_digest == built.digest


def test_damage_is_set_aside_even_if_the_build_then_fails(shelf: Shelf) -> None:
    shelf.ensure()
    (shelf.path / "model" / "weights").unlink()
    shelf.builder.fail = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        shelf.ensure()
    assert not shelf.path.exists()
    assert len(list((shelf.home / ".damaged").iterdir())) == 1
