"""The store: what is visible is whole, and what is there is reused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import DiskFullError, InternalError, StoreError, TemporaryError
from podsquad.store import artifacts
from podsquad.store.artifacts import Artifact, Store, never_stale
from tests.store.shelf import KEY, Builder, Shelf, ingredients


def test_an_artifact_is_built_once_then_reused(shelf: Shelf) -> None:
    assert shelf.store.look_up("train", KEY).artifact is None
    built, was_there = shelf.ensure()
    assert not was_there
    again, was_there = shelf.ensure()
    assert was_there
    assert again == built == Artifact("train", KEY, built.digest, shelf.path, built.num_bytes)
    assert built.num_bytes == len("weights") + 2 * len("call 1")
    assert shelf.store.look_up("train", KEY).artifact == built
    assert shelf.builder.num_calls == 1
    assert shelf.lines == []


def test_after_a_build_only_the_artifact_is_there(shelf: Shelf) -> None:
    shelf.ensure()
    files = ("manifest.json", "model/weights", "programs/file", "record/file")
    assert shelf.visible() == [".staging", ".work", *(f"{KEY}/{name}" for name in files)]
    manifest = json.loads((shelf.path / "manifest.json").read_text())
    assert sorted(manifest["files"]) == list(files[1:])
    assert manifest["ingredients"] == ingredients()


def test_a_store_that_moves_keeps_its_artifacts(shelf: Shelf, tmp_path: Path) -> None:
    built, _ = shelf.ensure()
    shelf.store.root.rename(tmp_path / "elsewhere")
    found = Store(tmp_path / "elsewhere").look_up("train", KEY).artifact
    assert found is not None
    assert found.digest == built.digest


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), TemporaryError("net")], ids=repr)
def test_a_failed_build_leaves_nothing_but_its_work(error: BaseException, shelf: Shelf) -> None:
    shelf.builder.fail = error
    with pytest.raises(type(error)) as caught:
        shelf.ensure()
    assert caught.value is error
    assert shelf.store.look_up("train", KEY).artifact is None
    assert shelf.visible() == [".staging", f".work/{KEY}.1/step-1"]
    shelf.builder.fail = None
    shelf.ensure()
    assert shelf.builder.work_seen == [[], ["step-1"]]
    assert list((shelf.home / ".work").iterdir()) == []


def test_what_a_killed_build_left_does_not_get_into_the_next(shelf: Shelf) -> None:
    leftover = shelf.home / ".staging" / f"{KEY}.1" / "model"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    shelf.ensure()  # the builder checks that its output is empty
    assert not (shelf.path / "model" / "half").exists()


def test_a_build_that_writes_nothing_is_a_bug(shelf: Shelf) -> None:
    with pytest.raises(InternalError, match="the stage train wrote nothing"):
        shelf.store.ensure(ingredients(), lambda output, work, handle: None, log=shelf.lines.append)
    assert not shelf.path.exists()


def stale(artifact: Path) -> str:
    return "another one is asked for"


def test_a_refresh_begins_afresh_and_replaces(shelf: Shelf) -> None:
    shelf.ensure()
    work = shelf.home / ".work" / f"{KEY}.1"
    work.mkdir(parents=True)
    (work / "of-another").write_text("")
    shelf.builder.content = "other"
    built, was_there = shelf.ensure(why_stale=stale, is_refresh=True)
    assert not was_there
    assert shelf.builder.work_seen == [[], [".refresh"]]
    assert (built.path / "model" / "weights").read_text() == "other"
    assert not work.exists()
    assert list((shelf.home / ".staging").iterdir()) == []
    assert not (shelf.home / ".damaged").exists()


def test_a_refresh_goes_on_from_a_refresh_and_from_nothing_else(shelf: Shelf) -> None:
    shelf.ensure()
    for is_refresh in (False, True, True, False, True):
        shelf.builder.fail = ValueError("no")
        with pytest.raises(ValueError, match="no"):
            shelf.ensure(why_stale=stale, is_refresh=is_refresh)
    plain, first, second, after_it, third = shelf.builder.work_seen[1:]
    assert (plain, first) == ([], [".refresh"])
    assert second == [".refresh", "step-3"]
    assert after_it == [".refresh", "step-3", "step-4"]
    assert third == [".refresh", "step-3", "step-4", "step-5"]


def test_a_refresh_that_was_not_done_stays_where_its_artifact_is_reused_and_goes_on(shelf: Shelf) -> None:
    shelf.ensure()
    shelf.builder.fail = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        shelf.ensure(why_stale=stale, is_refresh=True)
    assert shelf.ensure()[1]
    shelf.builder.fail = None
    assert not shelf.ensure(why_stale=stale, is_refresh=True)[1]
    assert shelf.builder.work_seen[2:] == [[".refresh", "step-2"]]
    assert list((shelf.home / ".work").iterdir()) == []


@pytest.mark.parametrize("is_refresh", [True, False])
def test_what_a_refresh_left_that_was_done_is_removed(
    is_refresh: bool, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed when its artifact was in its place, and its work folder still there."""
    shelf.ensure()
    shelf.builder.fail = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        shelf.ensure(why_stale=stale, is_refresh=True)
    (shelf.store.root / "another").mkdir()  # takes the inode that has just become free
    shelf.builder.fail = None
    monkeypatch.setattr(artifacts, "remove", lambda *_, **__: None)
    shelf.ensure(why_stale=stale, is_refresh=True)
    monkeypatch.undo()
    left = sorted(path.name for path in (shelf.home / ".work").glob("*/*"))
    assert left == [".refresh", "step-2", "step-3"]
    shelf.ensure(why_stale=stale if is_refresh else never_stale, is_refresh=is_refresh)
    assert shelf.builder.work_seen[3:] == ([[".refresh"]] if is_refresh else [])
    assert list((shelf.home / ".work").iterdir()) == []


def test_what_was_moved_and_linked_makes_room_too(shelf: Shelf, tmp_path: Path) -> None:
    """A stale artifact and a work folder, both on another disk, and a link that a kill left of another's removal."""
    shelf.ensure()
    work, left = shelf.home / ".work" / f"{KEY}.1", shelf.home / ".staging" / f".tmp-{KEY}.0f"
    moved = [tmp_path / "artifact", tmp_path / "work"]
    shelf.path.rename(moved[0])
    moved[1].mkdir()
    for link, target in ((shelf.path, moved[0]), (work, moved[1]), (left, moved[1])):
        link.symlink_to(target)
    built, was_there = shelf.ensure(why_stale=stale)
    assert not was_there
    assert not shelf.path.is_symlink()
    assert [path for kind in (".staging", ".work") for path in (shelf.home / kind).iterdir()] == []
    assert [sorted(os.listdir(each)) for each in moved] == [sorted(os.listdir(built.path)), ["step-2"]]


def test_a_failed_replacement_keeps_the_old_artifact(shelf: Shelf) -> None:
    built, _ = shelf.ensure()
    shelf.builder.fail = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        shelf.ensure(why_stale=stale)
    assert shelf.store.look_up("train", KEY).artifact == built


def test_a_kill_between_the_two_renames_of_a_replacement_loses_nothing(shelf: Shelf) -> None:
    built, _ = shelf.ensure()
    shelf.path.rename(shelf.home / ".staging" / f"{KEY}.1.replaced")
    found, was_there = shelf.ensure()
    assert was_there
    assert found == built
    assert shelf.builder.num_calls == 1


def test_the_digest_leaves_out_record_and_programs_alone(tmp_path: Path) -> None:
    digests: dict[str, str] = {}
    for name, content in (("first", "weights"), ("second", "weights"), ("third", "others")):
        shelf = Shelf(tmp_path / name)
        shelf.builder.content = content
        shelf.builder.work_seen = [[]] * len(digests)  # so that record/ and programs/ hold another text each time
        digests[name] = shelf.ensure()[0].digest
    assert digests["first"] == digests["second"] != digests["third"]


def test_a_stale_artifact_is_built_again_but_not_set_aside(shelf: Shelf) -> None:
    built, _ = shelf.ensure()
    shelf.builder.content = "other"
    why = {"the pointer moved"}
    found = shelf.store.look_up("train", KEY, lambda path: "".join(why))
    assert (found.artifact, found.problem, found.is_stale) == (None, "the pointer moved", True)
    assert found.expected_digest == built.digest
    again, was_there = shelf.ensure(why_stale=lambda path: "".join(why))
    assert not was_there
    assert again.digest != built.digest
    assert shelf.lines == []
    assert not (shelf.home / ".damaged").exists()
    why.clear()
    assert shelf.ensure(why_stale=lambda path: "".join(why)) == (again, True)


def test_a_damaged_artifact_is_not_asked_whether_it_is_stale(shelf: Shelf) -> None:
    shelf.ensure()
    (shelf.path / "model" / "weights").unlink()

    def never(path: Path) -> str:
        raise AssertionError("it was asked")

    assert shelf.store.look_up("train", KEY, never).problem == "lacks its file model/weights"


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device", "/x"), DiskFullError, "no space left", id="full"),
        pytest.param(OSError(errno.EDQUOT, "Quota exceeded", "/x"), DiskFullError, "no space left", id="quota"),
        pytest.param(OSError(errno.EACCES, "Permission denied", "/x"), StoreError, "cannot use /x", id="rights"),
        pytest.param(OSError(errno.EROFS, "Read-only file system", "/x"), StoreError, "cannot use /x", id="read-only"),
        pytest.param(OSError(errno.ECONNRESET, "reset"), TemporaryError, "connection failed", id="network"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["build", "write_json", "move_folder"])
def test_the_system_s_refusals_become_errors_with_a_way_out(
    error: OSError, kind: type[Exception], told: str, place: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise error

    if place == "build":
        shelf.builder.fail = error
    else:
        monkeypatch.setattr(artifacts, place, refuse)
    with pytest.raises(kind, match=rf"{told}.* while building the stage train") as caught:
        shelf.ensure()
    assert type(caught.value) is kind
    assert getattr(caught.value, "do", "")
    assert shelf.visible() == [".staging", f".work/{KEY}.1/step-1"]


@pytest.mark.parametrize("taken", ["store", "store/train", "store/train/.leases", "store/train/.staging"])
def test_a_file_in_a_folder_s_place_is_a_store_error(taken: str, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("")
    with pytest.raises(StoreError, match=f"cannot use .*{taken}") as caught:
        shelf.ensure()
    assert "store.path" in caught.value.do
    assert shelf.builder.num_calls == 0


def test_ingredients_come_newest_first_and_without_what_cannot_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(store.ingredients("train")) == []
    for place, rate in enumerate((1.0, 3.0, 2.0)):
        artifact, _ = store.ensure(ingredients(rate), Builder(), log=print)
        os.utime(artifact.path / "manifest.json", ns=(place, place))
    (tmp_path / "train" / "torn").mkdir()
    (tmp_path / "train" / "torn" / "manifest.json").write_text('{"ingredients"')
    (tmp_path / "train" / "list").mkdir()
    (tmp_path / "train" / "list" / "manifest.json").write_text("[]")
    rates = [record["settings"]["training.learning_rate"] for record in store.ingredients("train")]
    assert rates == [2.0, 3.0, 1.0]
