"""What may be removed from a store, and what stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from podsquad.store.artifacts import Store
from podsquad.store.keys import make_ingredients
from podsquad.store.lease import leased, leased_if_free
from podsquad.store.retention import Garbage, find_garbage, remove_garbage

DAY = 86_400.0
NOW = 1_000_000_000.0


class Shelves:
    """A store of two stages; the number of an artifact is its age in days."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.digests: dict[int, str] = {}

    def make(self, days: int, *, stage: str = "download", of: int | None = None) -> Path:
        inputs = {} if of is None else {"download": self.digests[of]}
        ingredients = make_ingredients(
            stage=stage, format_version=1, settings={"days": days}, inputs=inputs, code={}, libraries={}
        )
        made, _ = self.store.ensure(ingredients, lambda out, *_: (out / "file").write_text(f"{days}"), log=print)  # type: ignore[arg-type, return-value]
        os.utime(made.path / "manifest.json", (NOW - days * DAY,) * 2)
        self.digests.setdefault(days, made.digest)
        return made.path

    def garbage(self, protected: Path | None = None, keep: int = 1, days: float = 30) -> list[Garbage]:
        return find_garbage(
            self.store.root,
            keep=keep,
            older_than_seconds=days * DAY,
            now=NOW,
            is_protected=lambda path: path == protected,
        )


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelves:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Shelves(tmp_path)


def test_old_artifacts_go_but_the_newest_and_what_they_were_made_of(shelves: Shelves) -> None:
    source = shelves.make(100)
    unused, recent, newest = shelves.make(90), shelves.make(20), shelves.make(1)
    old = shelves.make(80, stage="train", of=90)
    shelves.make(50, stage="train", of=100)
    found = shelves.garbage()
    assert [each.path for each in found] == sorted([unused, old], key=str)
    assert [round(each.age_seconds / DAY) for each in found] == ([90, 80] if str(unused) < str(old) else [80, 90])
    assert all(remove_garbage(each) for each in found)
    assert source.exists()
    assert recent.exists()
    assert newest.exists()
    assert not unused.exists()
    assert shelves.garbage() == []
    assert list(shelves.store.root.glob("*/.staging/*")) == []


def test_what_is_protected_stays_with_all_that_it_was_made_of(shelves: Shelves) -> None:
    source = shelves.make(100)
    champion = shelves.make(80, stage="train", of=100)
    shelves.make(1)
    shelves.make(1, stage="train", of=1)
    assert shelves.garbage(protected=champion) == []
    assert {each.path for each in shelves.garbage()} == {source, champion}


def test_what_was_set_aside_and_what_a_kill_left_goes_with_age(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shelves.make(1).parent
    names = [".damaged/aa-123", ".staging/bb.4", ".staging/.tmp-cc.0f", ".work/dd.5"]
    for name in names:
        (home / name).mkdir(parents=True)
        (home / name / "file").write_text("12345")
    found = find_garbage(shelves.store.root, keep=1, older_than_seconds=-1e12, now=NOW, is_protected=lambda path: False)
    assert [(each.path.relative_to(home).as_posix(), each.key, each.num_bytes) for each in found] == [
        (name, key, 5) for name, key in zip(sorted(names), ("aa", "cc", "bb", "dd"), strict=True)
    ]
    assert {each.kind for each in found if each.key == "aa"} == {"damaged"}
    assert all(remove_garbage(each) for each in found)
    assert not any((home / name).exists() for name in names)
    (home / ".damaged/aa-124").mkdir()  # a moment ago
    young = find_garbage(
        shelves.store.root, keep=1, older_than_seconds=DAY, now=time.time(), is_protected=lambda path: False
    )
    assert young == []


def test_of_a_link_the_link_goes_and_what_it_leads_to_stays(shelves: Shelves, tmp_path: Path) -> None:
    """An artifact that was moved to another disk, and what a kill left of the removal of another."""
    old, new = shelves.make(90), shelves.make(1)
    moved, left = tmp_path.with_name("other-disk"), new.parent / ".staging/.tmp-cc.0f"
    old.rename(moved)
    old.symlink_to(moved)
    left.symlink_to(moved)
    found = find_garbage(shelves.store.root, keep=1, older_than_seconds=-1e12, now=NOW, is_protected=lambda path: False)
    assert {each.path for each in found} == {old, left}
    assert {each.leads_to for each in found} == {str(moved)}
    assert sum(each.num_bytes for each in found) == 2 * len(str(moved))
    assert all(remove_garbage(each) for each in found)
    assert sorted(path.name for path in new.parent.iterdir()) == sorted([new.name, ".leases", ".staging", ".work"])
    assert list((new.parent / ".staging").iterdir()) == []
    assert (moved / "file").read_text() == "90"


def test_what_is_being_built_stays(shelves: Shelves) -> None:
    home = shelves.make(1).parent
    (home / ".work/dd.1").mkdir(parents=True)
    (found,) = find_garbage(
        shelves.store.root, keep=1, older_than_seconds=-1e12, now=NOW, is_protected=lambda path: False
    )
    with leased(home / ".leases", "dd", log=print):
        assert not remove_garbage(found)
    assert (home / ".work/dd.1").is_dir()
    assert remove_garbage(found)


def test_what_goes_while_it_is_looked_at_is_left_out(shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shelves.make(1).parent
    for name in (".work/dd.1", ".work/ee.1"):
        (home / name).mkdir(parents=True)
        (home / name / "file").write_text("12345")
    lstat = os.lstat

    def lstat_late(path: Path) -> os.stat_result:
        if "dd.1" in str(path):
            (home / ".work/dd.1").rename(home / "moved")
        return lstat(path)

    monkeypatch.setattr(os, "lstat", lstat_late)
    found = find_garbage(shelves.store.root, keep=1, older_than_seconds=-1e12, now=NOW, is_protected=lambda path: False)
    assert [each.key for each in found] == ["ee"]


def test_a_lease_that_is_free_is_taken_with_the_next_token(tmp_path: Path) -> None:
    with leased_if_free(tmp_path, "key") as first:
        assert first
        with leased_if_free(tmp_path, "key") as second:
            assert second is None
    with leased_if_free(tmp_path, "key") as third:
        assert third
        assert third.token == first.token + 1
    assert sorted(os.listdir(tmp_path)) == ["key.2"]


def test_a_store_that_is_not_there_holds_no_garbage(tmp_path: Path) -> None:
    assert Shelves(tmp_path / "none").garbage() == []
    assert not (tmp_path / "none").exists()
