"""Durable writes: the old content or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from podsquad.store.durable import (
    append_line,
    canonical_json,
    copy_bytes,
    durable_file,
    move_folder,
    write_bytes,
    write_json,
)


def test_canonical_json_is_one_text_whatever_the_order() -> None:
    assert (
        canonical_json({"b": [1, "é"], "a": None})
        == canonical_json({"a": None, "b": [1, "é"]})
        == ('{"a":null,"b":[1,"é"]}')
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json([value])
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", [value])
    assert list(tmp_path.iterdir()) == []


def test_json_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "y.json", {"a": "é", "b": 1})
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_a_failed_write_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")

    def write_half() -> None:
        with durable_file(path) as file:
            file.write(b"half of the ne")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_flushed_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_write_replaces_what_was_there(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"old")
    write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(("before", "after"), [(b"", b""), (b"one\n", b"one\n"), (b"tor", b"tor\n")], ids=repr)
def test_a_line_is_added_to_the_disk_after_one_that_was_cut_short(
    before: bytes, after: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, int]] = []
    path = tmp_path / "lines"
    path.write_bytes(before)
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append((os.readlink(f"/proc/self/fd/{handle}"), path.stat().st_size))
    )
    append_line(path, b"new")
    assert path.read_bytes() == after + b"new\n"
    assert flushed == [(str(path), len(after) + 4), (str(tmp_path), len(after) + 4)]


def test_a_copy_is_on_the_disk_and_tells_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 2**14 + b"end"  # more than one piece, and less than a buffer
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_size))
    assert copy_bytes(source, target) == (len(content), hashlib.sha256(content).hexdigest())
    assert (target.read_bytes(), flushed) == (content, [len(content)])
    with pytest.raises(FileExistsError):
        copy_bytes(source, target)


def a_folder(path: Path, text: str) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_text(text)
    return path


def test_a_folder_appears_by_one_rename_after_it_was_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def told_fsync(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def told_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(os, "rename", told_rename)
    move_folder(a_folder(tmp_path / "aside", "new"), tmp_path / "place")
    # the folder, the inner folder and its file; after the rename the folder that holds the name
    assert steps == ["fsync", "fsync", "fsync", "rename", "fsync"]
    assert (tmp_path / "place" / "inner" / "file").read_text() == "new"
    assert not (tmp_path / "aside").exists()


def test_a_folder_in_the_way_is_refused_or_set_aside_as_asked(tmp_path: Path) -> None:
    source, target = a_folder(tmp_path / "aside", "new"), a_folder(tmp_path / "place", "old")
    with pytest.raises(OSError, match="not empty"):
        move_folder(source, target)
    assert (target / "inner" / "file").read_text() == "old"
    move_folder(source, target, tmp_path / "replaced")
    assert (target / "inner" / "file").read_text() == "new"
    assert (tmp_path / "replaced" / "inner" / "file").read_text() == "old"


def test_what_cannot_be_flushed_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = a_folder(tmp_path / "aside", "new"), a_folder(tmp_path / "place", "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        move_folder(source, target, tmp_path / "replaced")
    assert (target / "inner" / "file").read_text() == "old"
    assert not (tmp_path / "replaced").exists()
