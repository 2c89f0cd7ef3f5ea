"""The folder target's own: layout, damage, disks, locks. What it shares with the Hub's is in test_target.py."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from podsquad.errors import DiskFullError, InternalError, StoreError, TemporaryError
from podsquad.publishing import folder as module
from podsquad.publishing import listing
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.target import Publication, tag_of
from podsquad.store.contents import FileDigest
from tests.publishing.hub_place import Model, make_model


class Desk:
    """Publishes to one folder, again and again."""

    def __init__(self, root: Path) -> None:
        self.root, self.target = root, FolderTarget(root / "published", "roberta")
        self.home = self.target.home
        self.one, self.two = make_model(root, 1), make_model(root, 2)

    def publish(self, model: Model | None = None, **options: Any) -> Publication:
        model = model or self.one
        return self.target.publish(model.key, model.files, lambda folder: None, **options)

    def holds(self, model: Model) -> bool:
        return self.target.why_not_held(model.key) == ""

    def tree(self) -> dict[str, tuple[str, int]]:
        """Everything under the target with its content and time of change, the lock file aside."""
        found = {}
        for path in sorted(self.target.folder.rglob("*")):
            if path.name == ".lock":
                continue
            content = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes().hex()
            found[path.relative_to(self.home.parent).as_posix()] = (content, path.lstat().st_mtime_ns)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_version_holds_its_files_and_the_pointer_points_at_it(desk: Desk) -> None:
    publication = desk.publish()
    version = Path(publication.url)
    assert publication.place == str(desk.home)
    assert publication.current == str(desk.home / "current")
    assert version == desk.home / "versions" / desk.one.tag
    names = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert names == {*desk.one.files, "files.json"}
    assert desk.target.pointer.readlink() == Path("versions") / desk.one.tag
    listing = json.loads((version / "files.json").read_text())
    weights = desk.one.contents["model.safetensors"]
    assert listing["key"] == desk.one.key
    assert listing["files"]["model.safetensors"] == {
        "num_bytes": len(weights),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    assert [entry.name for entry in desk.home.iterdir() if entry.name.startswith(".tmp")] == []


def test_the_published_folder_can_be_moved(desk: Desk, tmp_path: Path) -> None:
    desk.publish()
    desk.target.folder.rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/roberta/current/config.json").is_file()


def test_publishing_the_same_again_writes_nothing(desk: Desk) -> None:
    desk.publish()
    before = desk.tree()
    desk.publish()
    assert desk.tree() == before


def test_a_new_version_stands_beside_the_old_one(desk: Desk) -> None:
    desk.publish(desk.one)
    kept = {name: entry for name, entry in desk.tree().items() if f"{desk.one.tag}/" in name}
    desk.publish(desk.two)
    assert {name: entry for name, entry in desk.tree().items() if f"{desk.one.tag}/" in name} == kept
    assert (desk.holds(desk.one), desk.holds(desk.two)) == (False, True)


def test_the_pointer_is_restored_without_touching_versions(desk: Desk) -> None:
    desk.publish(desk.one)
    desk.publish(desk.two)
    versions = {name: entry for name, entry in desk.tree().items() if "versions/" in name}
    desk.publish(desk.one)
    assert desk.holds(desk.one)
    desk.target.pointer.unlink()
    assert not desk.holds(desk.one)
    desk.publish(desk.one)
    assert desk.holds(desk.one)
    assert {name: entry for name, entry in desk.tree().items() if "versions/" in name} == versions


def test_a_pointer_that_was_moved_by_hand_is_what_counts(desk: Desk) -> None:
    desk.publish(desk.one)
    desk.publish(desk.two)
    before = desk.target.state()
    desk.target.pointer.unlink()
    desk.target.pointer.symlink_to(Path("versions") / desk.one.tag)
    state = desk.target.state()
    assert state.champion is not None
    assert state.champion.key == desk.one.key
    assert state.expected != before.expected
    third = make_model(desk.root, 3)
    with pytest.raises(TemporaryError, match="somebody else changed what is current"):
        desk.publish(third, expected=before.expected)
    desk.publish(third, expected=state.expected)
    assert desk.holds(third)


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
    "receipt-cut": lambda version: os.truncate(version / "receipt.json", 3),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_version_is_noticed_and_replaced(damage: Any, desk: Desk) -> None:
    publication = desk.publish()
    whole = {name: content for name, (content, _) in desk.tree().items() if "turns.json" not in name}
    damage(Path(publication.url))
    assert not desk.holds(desk.one)
    assert desk.publish() == publication
    assert desk.holds(desk.one)
    assert {name: content for name, (content, _) in desk.tree().items() if "turns.json" not in name} == whole


def test_damage_within_one_tick_of_the_clock_is_noticed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Path(desk.publish().url) / "model.safetensors"
    assert desk.holds(desk.one)
    before, fstat = weights.stat(), os.fstat

    def same_times(handle: int) -> os.stat_result:
        found = fstat(handle)
        return before if found.st_ino == before.st_ino else found

    flip_a_bit(weights)
    monkeypatch.setattr(os, "fstat", same_times)
    assert not desk.holds(desk.one)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the kinds of the digests that are made from now on."""
    made: list[str] = []

    def counted(name: str) -> None:
        real = getattr(hashlib, name)
        monkeypatch.setattr(hashlib, name, lambda *given: made.append(name) or real(*given))

    for name in ("sha256", "file_digest"):
        counted(name)
    return made


def test_a_version_is_read_once_by_a_process_that_looks_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Path(desk.publish().url) / "model.safetensors"
    monkeypatch.setattr(listing, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 60 * 10**9))  # a minute later
    reads = count_reads(monkeypatch)
    assert desk.holds(desk.one)
    assert len(reads) == len(desk.one.files)
    assert desk.holds(desk.one)
    assert len(reads) == len(desk.one.files)
    flip_a_bit(weights)
    os.utime(weights, ns=(1, 1))  # whatever the clock's tick, it is another time
    assert not desk.holds(desk.one)


def test_a_version_that_was_just_written_is_read_each_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.publish()
    monkeypatch.setattr(listing, "_YOUNG_NANOSECONDS", 10**12)  # however slow this machine is
    reads = count_reads(monkeypatch)
    for looks in (1, 2):
        assert desk.holds(desk.one)
        assert len(reads) == looks * len(desk.one.files)


def test_users_have_the_damaged_version_until_it_is_built_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_a_bit(Path(desk.publish().url) / "model.safetensors")
    there: list[bool] = []
    fsync = os.fsync

    def look(handle: int) -> None:
        there.append(desk.target.pointer.is_dir())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    desk.publish()
    assert len(there) > len(desk.one.files)
    assert all(there)
    assert desk.holds(desk.one)


def test_a_repair_that_fails_leaves_users_what_they_had(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Path(desk.publish().url) / "model.safetensors"
    flip_a_bit(weights)
    damaged, replace, rename, fsync = weights.read_bytes(), os.replace, os.rename, os.fsync
    for failing_call in range(1, 100):
        left = failing_call

        def fail_once(call: Callable[..., Any]) -> Callable[..., Any]:
            def failing(*given: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    raise OSError(errno.EIO, "Input/output error")
                return call(*given)

            return failing

        with monkeypatch.context() as patch, suppress(StoreError):
            for name, call in (("replace", replace), ("rename", rename), ("fsync", fsync)):
                patch.setattr(os, name, fail_once(call))
            desk.publish()
        assert weights.read_bytes() in (damaged, desk.one.contents["model.safetensors"])
        if left > 0:  # there are no more calls
            break
    assert desk.holds(desk.one)
    assert failing_call > len(desk.one.files)


def test_a_damaged_version_is_not_rolled_back_to(desk: Desk) -> None:
    desk.publish(desk.one)
    desk.publish(desk.two)
    flip_a_bit(desk.target.path(desk.one.tag) / "model.safetensors")
    with pytest.raises(StoreError, match=r"model\.safetensors of .* are not as they were published"):
        desk.target.rollback(desk.one.tag, "slow", lambda folder: None)
    assert desk.holds(desk.two)


def test_leftovers_of_a_killed_publisher_are_removed(desk: Desk) -> None:
    desk.home.mkdir(parents=True)
    (desk.home / ".tmp-dead").mkdir()
    (desk.home / ".tmp-dead/model.safetensors").write_bytes(b"half")
    (desk.home / ".tmp-link").symlink_to("versions/x")
    desk.publish()
    assert sorted(entry.name for entry in desk.home.iterdir()) == [".lock", "current", "turns.json", "versions"]


def test_a_disk_that_does_not_keep_its_bytes_is_noticed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    original = module.copy_file

    def rot(source: Path, target: Path) -> FileDigest:
        entry = original(source, target)
        if target.name == "model.safetensors":
            flip_a_bit(target)
        return entry

    monkeypatch.setattr(module, "copy_file", rot)
    with pytest.raises(InternalError, match=r"model\.safetensors read back with other bytes"):
        desk.publish()
    assert list((desk.home / "versions").iterdir()) == []
    assert not desk.home.joinpath("current").is_symlink()


def test_a_full_disk_keeps_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> FileDigest:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(module, "copy_file", full)
    with pytest.raises(DiskFullError, match="publishing roberta"):
        desk.publish()
    assert not [entry for entry in desk.home.iterdir() if entry.name.startswith(".tmp")]


def test_a_folder_that_is_a_file_is_a_store_error(desk: Desk) -> None:
    desk.target.folder.write_text("x")
    with pytest.raises(StoreError, match="publishing roberta"):
        desk.publish()
    assert not desk.holds(desk.one)


def test_a_pointer_that_is_a_folder_is_not_removed(desk: Desk) -> None:
    (desk.home / "current").mkdir(parents=True)
    (desk.home / "current/mine").write_text("x")
    with pytest.raises(StoreError):
        desk.publish()
    assert (desk.home / "current/mine").is_file()


def test_two_keys_with_one_beginning_do_not_replace_each_other(desk: Desk) -> None:
    desk.publish()
    other = desk.one.key[:12] + "0" * 52
    assert tag_of(other) == desk.one.tag
    with pytest.raises(StoreError, match="holds another model"):
        desk.target.publish(other, desk.two.files, lambda folder: None)
    assert desk.holds(desk.one)


def test_one_publisher_at_a_time(desk: Desk) -> None:
    desk.home.mkdir(parents=True)
    target = FolderTarget(desk.target.folder, "roberta", lock_timeout_seconds=0.01)
    with FileLock(desk.home / ".lock"), pytest.raises(TemporaryError, match="another process"):
        target.publish(desk.one.key, desk.one.files, lambda folder: None)


def test_many_publishers_at_once_leave_whole_versions(desk: Desk) -> None:
    models = [make_model(desk.root, number) for number in range(6)]
    threads = [threading.Thread(target=desk.publish, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(desk.holds, models)) == 1
    assert {each.tag for each in desk.target.state().versions} == {model.tag for model in models}
