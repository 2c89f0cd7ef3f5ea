"""The folder publisher: whole versions, one pointer, and what happens when things break."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from podsquad.errors import DiskFullError, InternalError, StoreError, TemporaryError
from podsquad.publishing import folder as module
from podsquad.publishing.folder import Publication, holds, list_versions, publish_to_folder

ONE, TWO = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's artifact: what is published, and what is not."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "merges.txt", "vocab.json"):
        (folder / name).write_bytes(name.encode() * 100)
    for name in ("history.jsonl", "training.json", "manifest.json", "optimizer.safetensors"):
        (folder / name).write_bytes(b"not published")
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "loss.png"
    path.write_bytes(b"png")
    return path


class Desk:
    """Publishes to one folder, again and again."""

    def __init__(self, root: Path, model: Path, picture: Path) -> None:
        self.target, self.model, self.picture = root / "published", model, picture
        self.home = self.target / "roberta"

    def publish(self, key: str = ONE, card: str = "# Card ü\n", **options: Any) -> Publication:
        extras = {"plots/loss.png": self.picture}
        return publish_to_folder(self.target, "roberta", self.model, card, extras, key, **options)

    def tree(self) -> dict[str, tuple[str, int]]:
        """Everything under the target with its content and time of change, the lock file aside."""
        found = {}
        for path in sorted(self.target.rglob("*")):
            if path.name == ".lock":
                continue
            content = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes().hex()
            found[path.relative_to(self.target).as_posix()] = (content, path.lstat().st_mtime_ns)
        return found


@pytest.fixture
def desk(tmp_path: Path, model: Path, picture: Path) -> Desk:
    return Desk(tmp_path, model, picture)


def test_a_version_holds_the_model_and_the_pointer_points_at_it(desk: Desk) -> None:
    publication = desk.publish()
    assert publication == Publication(str(desk.target), "roberta", ONE)
    names = {path.relative_to(publication.path).as_posix() for path in publication.path.rglob("*") if path.is_file()}
    assert names == {
        "README.md",
        "config.json",
        "files.json",
        "merges.txt",
        "model.safetensors",
        "plots/loss.png",
        "tokenizer.json",
        "vocab.json",
    }
    assert publication.pointer.readlink() == Path("versions") / ONE[:12]
    assert (desk.home / "current/README.md").read_text(encoding="utf-8") == "# Card ü\n"
    listing = json.loads((publication.path / "files.json").read_text())
    assert listing["key"] == ONE
    weights = (desk.model / "model.safetensors").read_bytes()
    assert listing["files"]["model.safetensors"] == {
        "num_bytes": len(weights),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    assert holds(publication)
    assert Publication(**asdict(publication)) == publication
    assert [entry.name for entry in desk.home.iterdir() if entry.name.startswith(".tmp")] == []


def test_the_published_folder_can_be_moved(desk: Desk, tmp_path: Path) -> None:
    desk.publish()
    desk.target.rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/roberta/current/config.json").is_file()


def test_publishing_the_same_again_writes_nothing(desk: Desk) -> None:
    desk.publish()
    before = desk.tree()
    desk.publish(card="another card")
    assert desk.tree() == before


def test_a_new_version_stands_beside_the_old_one(desk: Desk) -> None:
    first = desk.publish(ONE)
    kept = {name: entry for name, entry in desk.tree().items() if f"{ONE[:12]}/" in name}
    second = desk.publish(TWO)
    assert list_versions(desk.target, "roberta") == sorted([ONE[:12], TWO[:12]])
    assert {name: entry for name, entry in desk.tree().items() if f"{ONE[:12]}/" in name} == kept
    assert (holds(first), holds(second)) == (False, True)


def test_the_pointer_is_restored_without_touching_versions(desk: Desk) -> None:
    first, _ = desk.publish(ONE), desk.publish(TWO)
    versions = {name: entry for name, entry in desk.tree().items() if "versions/" in name}
    desk.publish(ONE)
    assert holds(first)
    first.pointer.unlink()
    assert not holds(first)
    desk.publish(ONE)
    assert holds(first)
    assert {name: entry for name, entry in desk.tree().items() if "versions/" in name} == versions


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_a_file(version: Path) -> None:
    shutil.rmtree(version)
    version.write_text("x")


def replace_config_by_a_folder(version: Path) -> None:
    (version / "config.json").unlink()
    (version / "config.json").mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped-bit": lambda version: flip_a_bit(version / "model.safetensors"),
    "cut-short": lambda version: os.truncate(version / "model.safetensors", 10),
    "missing": lambda version: (version / "config.json").unlink(),
    "extra": lambda version: (version / "extra.bin").write_bytes(b"x"),
    "no-listing": lambda version: (version / "files.json").unlink(),
    "torn-listing": lambda version: os.truncate(version / "files.json", 30),
    "listing-a-list": lambda version: (version / "files.json").write_text("[]"),
    "file-a-folder": replace_config_by_a_folder,
    "not-a-folder": replace_by_a_file,
    "gone": shutil.rmtree,
    "card-changed": lambda version: flip_a_bit(version / "README.md"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_version_is_noticed_and_replaced(damage: Any, desk: Desk) -> None:
    publication = desk.publish()
    whole = {name: content for name, (content, _) in desk.tree().items()}
    damage(publication.path)
    assert not holds(publication)
    assert desk.publish() == publication
    assert holds(publication)
    assert {name: content for name, (content, _) in desk.tree().items()} == whole


def test_leftovers_of_a_killed_publisher_are_removed(desk: Desk) -> None:
    desk.home.mkdir(parents=True)
    (desk.home / ".tmp-dead").mkdir()
    (desk.home / ".tmp-dead/model.safetensors").write_bytes(b"half")
    (desk.home / ".tmp-link").symlink_to("versions/x")
    assert holds(desk.publish())
    assert sorted(entry.name for entry in desk.home.iterdir()) == [".lock", "current", "versions"]


STEPS = ("_copy", "digest_file", "write_json", "move_folder", "_point")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_stop_at_any_step_leaves_the_old_version_current_and_the_next_run_heals(
    step: str, before: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = desk.publish(ONE)
    original = getattr(module, step)

    def stop(*arguments: Any, **options: Any) -> Any:
        if not before:
            original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # holds() itself reads digests: let the version's absence answer first.
        patch.setattr(module, step, stop)
        with pytest.raises(KeyboardInterrupt):
            desk.publish(TWO)
    second = Publication(str(desk.target), "roberta", TWO)
    assert holds(second) or holds(first)
    assert (desk.home / "current/model.safetensors").is_file()
    assert holds(desk.publish(TWO))
    assert not [entry for entry in desk.home.iterdir() if entry.name.startswith(".tmp")]


def test_a_disk_that_does_not_keep_its_bytes_is_noticed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    original = module._copy

    def rot(source: Path, target: Path) -> dict[str, Any]:
        entry = original(source, target)
        if target.name == "model.safetensors":
            flip_a_bit(target)
        return entry

    monkeypatch.setattr(module, "_copy", rot)
    with pytest.raises(InternalError, match=r"model\.safetensors reads back as"):
        desk.publish()
    assert list_versions(desk.target, "roberta") == []
    assert not desk.home.joinpath("current").is_symlink()


def test_a_full_disk_keeps_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(DiskFullError, match="publishing roberta"):
        desk.publish()
    assert not [entry for entry in desk.home.iterdir() if entry.name.startswith(".tmp")]


def test_a_folder_that_is_a_file_is_a_store_error(desk: Desk) -> None:
    desk.target.write_text("x")
    with pytest.raises(StoreError, match="publishing roberta"):
        desk.publish()
    assert not holds(Publication(str(desk.target), "roberta", ONE))


def test_a_pointer_that_is_a_folder_is_not_removed(desk: Desk) -> None:
    (desk.home / "current").mkdir(parents=True)
    (desk.home / "current/mine").write_text("x")
    with pytest.raises(StoreError):
        desk.publish()
    assert (desk.home / "current/mine").is_file()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_artifact_without_weights_or_config_is_refused(name: str, desk: Desk) -> None:
    (desk.model / name).unlink()
    with pytest.raises(InternalError, match=f"has no {name}"):
        desk.publish()
    assert not desk.target.exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "README.md", "files.json", "config.json", ""])
def test_names_that_would_leave_or_hide_something_are_refused(name: str, desk: Desk) -> None:
    with pytest.raises(InternalError, match="cannot be the name"):
        publish_to_folder(desk.target, "roberta", desk.model, "", {name: desk.picture}, ONE)


@pytest.mark.parametrize("key", ["", "abc", "../../../../etc", "A" * 64])
def test_what_is_no_key_is_refused(key: str, desk: Desk) -> None:
    with pytest.raises(InternalError, match="is no key"):
        desk.publish(key)


def test_two_keys_with_one_beginning_do_not_replace_each_other(desk: Desk) -> None:
    first = desk.publish(ONE)
    with pytest.raises(StoreError, match="holds another model"):
        desk.publish(ONE[:12] + "0" * 52)
    assert holds(first)


def test_one_publisher_at_a_time(desk: Desk) -> None:
    desk.home.mkdir(parents=True)
    with FileLock(desk.home / ".lock"), pytest.raises(TemporaryError, match="another process"):
        desk.publish(lock_timeout_seconds=0.01)


def test_many_publishers_at_once_leave_whole_versions(desk: Desk) -> None:
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(6)]
    threads = [threading.Thread(target=desk.publish, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publications = [Publication(str(desk.target), "roberta", digest) for digest in digests]
    assert sum(map(holds, publications)) == 1
    assert len(list_versions(desk.target, "roberta")) == 6


def test_a_target_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert not holds(Publication(str(tmp_path), "roberta", ONE))
    assert list_versions(tmp_path, "roberta") == []
