"""Digests of files and folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from podsquad.errors import InputMissingError
from podsquad.store.contents import FileDigest, digest_file, digest_path, is_plain_name, list_files


@pytest.mark.parametrize("size", [0, 1, 5 * 2**20], ids=["empty", "one", "more-than-a-chunk"])
def test_a_file_s_digest_is_the_sha256_of_its_bytes(size: int, tmp_path: Path) -> None:
    content = b"x" * size
    (tmp_path / "file").write_bytes(content)
    assert digest_file(tmp_path / "file") == FileDigest(size, hashlib.sha256(content).hexdigest())


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.utime(path, ns=(1, 1))
    first = digest_file(path)
    reads: list[Path] = []
    real = hashlib.sha256

    def counted() -> object:
        reads.append(path)
        return real()

    monkeypatch.setattr(hashlib, "sha256", counted)
    assert digest_file(path) == first
    assert reads == []
    path.write_bytes(b"new")  # of the same size
    os.utime(path, ns=(2, 2))
    assert digest_file(path).sha256 == real(b"new").hexdigest()
    assert reads == [path]


def test_files_are_listed_with_hidden_ones_and_sorted(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a-b", ".hidden/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    assert list(list_files(tmp_path)) == [".hidden/x", "a-b", "a/z", "b"]


def test_a_folder_s_digest_counts_names_and_bytes_but_not_its_place(tmp_path: Path) -> None:
    digests = []
    for place, name, text in (("1", "a", "x"), ("2", "a", "x"), ("3", "b", "x"), ("4", "a", "y")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text(text)
        digests.append(digest_path(tmp_path / place))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_hidden_names_in_a_folder_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "model"  # that the folder itself lies in a hidden one does not matter
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    before = digest_path(folder)
    (folder / ".lock").write_text("")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("")
    assert digest_path(folder) == before
    (folder / "more").write_text("")
    assert digest_path(folder) != before


def test_a_link_counts_as_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("x")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "blob")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").write_text("x")
    assert digest_path(tmp_path / "linked") == digest_path(tmp_path / "plain")


@pytest.mark.parametrize("name", ["absent", "file/below"])
def test_nothing_there_is_told_with_the_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputMissingError, match=f"cannot read {tmp_path / name}: No"):
        digest_path(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [
        ("plots/loss.png", True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("é" * 128, False),
        ("/".join(["a" * 200] * 6), False),
        ("../x", False),
        ("/x", False),
        ("a//b", False),
        ("a\\b", False),
        ("a\0b", False),
        ("", False),
    ],
)
def test_a_plain_name_is_one_that_can_only_lie_below_a_folder(name: str, is_plain: bool) -> None:
    assert is_plain_name(name) is is_plain
