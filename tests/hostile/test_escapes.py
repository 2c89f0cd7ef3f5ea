"""Nothing that is fetched or read by the names in a list can be written, or waited for, outside its own folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from podsquad.command.verify import verify
from podsquad.errors import DataError, InputMissingError, StoreError
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.listing import FILES_FILE
from podsquad.publishing.target import tag_of
from podsquad.publishing.verify_source import open_folder, open_repository
from podsquad.store.artifacts import MANIFEST_FILE, Store, digest_of
from podsquad.store.contents import digest_file
from tests.hostile.test_artifacts import INGREDIENTS
from tests.publishing.conftest import hub_client, place
from tests.publishing.hub_place import REPOSITORY, TOKEN, Place
from tests.publishing.hub_server.repositories import File, Repository

__all__ = ["hub_client", "place"]

KEY = "0123456789abcdef" * 4
CONTENT = b"evil"
ABSOLUTE = "/tmp/podsquad-evil"
OUTSIDE = ("../evil", "../../evil", "a/../../../evil", ABSOLUTE, "a//../../evil", "./../evil", "..", "a/..", "")


def listing(name: str) -> bytes:
    entry = {"num_bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return json.dumps({"key": KEY, "files": {name: entry}}).encode()


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_version_in_a_folder_cannot_be_fetched_outside_the_folder(name: str, tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "published", "model")
    version = target.path(tag_of(KEY))
    version.mkdir(parents=True)
    (version / FILES_FILE).write_bytes(listing(name))
    # Where the name leads to from the version there is a file with those very bytes, and from the goal there is none.
    for near in ("evil", "versions/evil"):
        (target.home / near).write_bytes(CONTENT)
    goal = tmp_path / "some" / "where" / "goal"
    goal.parent.mkdir(parents=True)
    before = everything(tmp_path)
    with pytest.raises(InputMissingError, match="has no version"):
        target.fetch(tag_of(KEY), goal)
    assert everything(tmp_path) == before
    assert not Path(ABSOLUTE).exists()


def hostile_repository(place: Place, name: str) -> Repository:
    repository = Repository.new(REPOSITORY, private=False)
    place.server.world.repositories[REPOSITORY] = repository
    files = {FILES_FILE: File(len(listing(name)), listing(name)), name: File(len(CONTENT), CONTENT)}
    repository.commit("main", files, "evil", f"podsquad-version: {KEY}", "mallory")
    repository.create_tag(tag_of(KEY), "main")
    return repository


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_a_hub_s_files_cannot_be_fetched_outside_the_folder(name: str, place: Place, tmp_path: Path) -> None:
    hostile_repository(place, name)
    goal = tmp_path / "some" / "where" / "goal"
    goal.parent.mkdir(parents=True)
    (tmp_path / "work").mkdir()  # the target's own
    before = everything(tmp_path)
    hub = Hub(REPOSITORY, place.server.endpoint, TOKEN)

    for attempt in (
        lambda: place.target().fetch("main", goal),
        lambda: hub.download([name], "main", goal),
        lambda: hub.read(name, "main", goal),
    ):
        with pytest.raises(DataError) as caught:
            attempt()
        assert name in caught.value.what or FILES_FILE in caught.value.what
    assert place.target().state().champion is None  # a listing that names it is none of podsquad's
    assert not verify(open_repository(hub, "main", goal)).is_whole
    assert everything(tmp_path) == before
    assert not Path(ABSOLUTE).exists()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def build(output: Path, work: Path, handle: int) -> None:
        (output / "a.txt").write_bytes(b"a")

    made = Store(tmp_path / "store")
    made.ensure(INGREDIENTS, build, log=lambda line: None)
    return made


def rewrite(store: Store, names: dict[str, Path]) -> str:
    """Let the manifest list these files too, with digests that fit."""
    (path,) = (store.root / "train").glob(f"*/{MANIFEST_FILE}")
    manifest = json.loads(path.read_bytes())
    manifest["files"] |= {name: digest_file(file)._asdict() for name, file in names.items()}
    manifest["digest"] = digest_of(manifest["files"])
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path.parent.name


def test_a_manifest_cannot_name_a_file_outside_its_artifact(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(CONTENT)
    key = rewrite(store, {"../../../outside": tmp_path / "outside"})
    found = store.look_up("train", key)
    assert (found.artifact, found.problem) == (None, "has a manifest that names files outside it")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(store: Store) -> None:
    (path,) = (store.root / "train").glob("*/a.txt")
    path.unlink()
    os.mkfifo(path)
    found = store.look_up("train", path.parent.name)
    assert (found.artifact, found.problem) == (None, "has a file a.txt that cannot be read: it is no regular file")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "device"])
def test_verification_does_not_wait_for_a_pipe_or_read_a_device(make: Any, tmp_path: Path) -> None:
    for name in (FILES_FILE, "model.safetensors"):
        (tmp_path / FILES_FILE).unlink(missing_ok=True)
        if name != FILES_FILE:
            (tmp_path / FILES_FILE).write_bytes(listing(name))
        make(tmp_path / name)
        with pytest.raises(StoreError, match="it is no regular file"):
            verify(open_folder(tmp_path))


def test_a_symlink_in_a_version_is_fetched_as_a_file_of_its_own(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "published", "model")
    version = target.path(tag_of(KEY))
    version.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(CONTENT)
    (version / "config.json").symlink_to(tmp_path / "secret")
    (version / FILES_FILE).write_bytes(listing("config.json"))
    target.fetch(tag_of(KEY), tmp_path / "goal")
    assert not (tmp_path / "goal/config.json").is_symlink()
    (tmp_path / "goal/config.json").write_bytes(b"mine")
    assert (tmp_path / "secret").read_bytes() == CONTENT
