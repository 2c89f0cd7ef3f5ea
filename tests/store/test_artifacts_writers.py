"""The store: of two processes with one key one builds and the other waits, or takes over from one that stands still."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from podsquad.errors import LeaseLostError
from podsquad.store import lease
from podsquad.store.artifacts import Artifact, Store
from tests.store.shelf import KEY, Builder, Shelf, ingredients

CHILD = """
import json, sys
from pathlib import Path
from podsquad.errors import PodsquadError
from podsquad.store.artifacts import Store

def build(output, work, handle):
    found = sorted(path.name for path in work.iterdir())
    (work / "checkpoint").write_text("")
    print("builds with", found, flush=True)
    sys.stdin.readline()
    (output / "file").write_text("content")

try:
    artifact, was_there = Store(Path(sys.argv[1]), float(sys.argv[3])).ensure(
        json.loads(sys.argv[2]), build, log=lambda line: print(line, flush=True)
    )
except PodsquadError as error:
    print(type(error).__name__, error.what, flush=True)
else:
    print("was there" if was_there else "built", artifact.digest, flush=True)
"""


class Child:
    """A process that wants the artifact; it builds until it is let go."""

    def __init__(self, root: Path, lease_seconds: float = 60.0) -> None:
        command = [sys.executable, "-c", CHILD, str(root), json.dumps(ingredients()), str(lease_seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def finish(self) -> str:
        return self.process.communicate("\n", timeout=60)[0].rstrip("\n")


@pytest.mark.parametrize("is_killed", [False, True], ids=["finishes", "is-killed"])
def test_of_two_processes_with_one_key_one_builds_and_the_other_waits(is_killed: bool, tmp_path: Path) -> None:
    first, second = Child(tmp_path), None
    try:
        assert first.line() == "builds with []"
        second = Child(tmp_path)
        assert second.line().startswith(f"another run is building {KEY}; waiting for it (process {first.process.pid} ")
        if is_killed:
            first.process.send_signal(signal.SIGKILL)
            first.process.communicate(timeout=60)
            # Nobody has to clean up: the lock is gone with its process, and what that one saved is used.
            assert second.line() == "builds with ['checkpoint']"
            assert second.finish().startswith("built ")
        else:
            built = first.finish()
            assert built.startswith("built ")
            assert second.finish() == built.replace("built", "was there")
    finally:
        for child in (first, second):
            if child:
                child.process.kill()
                child.process.communicate()


def test_a_process_that_stood_still_is_taken_over_and_its_late_writes_are_refused(tmp_path: Path) -> None:
    first, second = Child(tmp_path, lease_seconds=1.0), None
    try:
        assert first.line() == "builds with []"
        first.process.send_signal(signal.SIGSTOP)
        second = Child(tmp_path, lease_seconds=1.0)
        assert second.line().startswith("another run is building")
        assert second.line() == f"the run that was building {KEY} gave no sign of life for 1 seconds: taken over"
        assert second.line() == "builds with ['checkpoint']"  # what the first one saved is gone on from
        first.process.send_signal(signal.SIGCONT)
        assert first.finish() == f"LeaseLostError the right to build train {KEY} is lost"
        built = second.finish()
        assert built.startswith("built ")
        third = Child(tmp_path)
        assert third.finish() == built.replace("built", "was there")
    finally:
        for child in (first, second):
            if child:
                child.process.kill()
                child.process.communicate()


def always(artifact: Path) -> str:
    return "another one is asked for"


@pytest.mark.parametrize("before", [False, True], ids=["first-build", "replacement"])
def test_a_writer_that_wakes_at_its_last_rename_changes_nothing(
    before: bool, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        shelf.builder.content = "of the night before"
        shelf.ensure()
    slow, fast = Builder("slow"), Builder("fast")
    other: list[tuple[Artifact, bool]] = []
    rename = os.rename

    def rename_late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        other.append(fast_store.ensure(ingredients(), fast, why_stale=always, log=shelf.lines.append))
        rename(source, target)

    fast_store = Store(shelf.store.root, lease_seconds=0.05)
    monkeypatch.setattr(lease, "_RENEWALS_PER_EXPIRY", 1e-6)  # the slow one never renews

    def build(output: Path, work: Path, handle: int) -> None:
        slow(output, work, handle)
        monkeypatch.setattr(os, "rename", rename_late)

    with pytest.raises(LeaseLostError):
        shelf.store.ensure(ingredients(), build, why_stale=always, log=shelf.lines.append)
    ((built, was_there),) = other
    assert not was_there
    assert shelf.store.look_up("train", KEY).artifact == built
    assert (shelf.path / "model" / "weights").read_text() == "fast"
    assert list((shelf.home / ".staging").iterdir()) == []


# What the writer finds that is about to stand still, and how many looks at its lease it takes until it builds.
FOUND = {"nothing": 4, "stale": 4, "damaged": 6, "left-aside": 2, "whole": 2}


@pytest.mark.parametrize("is_done", [True, False], ids=["other-is-done", "other-builds"])
@pytest.mark.parametrize(("found", "look"), [(found, look) for found in FOUND for look in range(FOUND[found])])
def test_a_writer_that_stands_still_at_any_look_at_its_lease_changes_nothing(
    found: str, look: int, is_done: bool, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes when another one has taken over, which builds still or is done; that one's is what stays."""
    if found != "nothing":
        shelf.ensure()
    if found == "damaged":
        (shelf.path / "model" / "weights").write_text("damaged")
    if found == "left-aside":
        shelf.path.rename(shelf.home / ".staging" / f"{KEY}.1.replaced")
    fast, slow = Builder("fast"), Builder("slow")
    why = "it is" if found == "stale" else ""
    builds, may_end = threading.Event(), threading.Event()
    looks: list[bool] = []
    monkeypatch.setattr(lease, "_RENEWALS_PER_EXPIRY", 1e-6)  # the slow one never renews
    is_held = lease.Lease.is_held

    def build(output: Path, work: Path, handle: int) -> None:
        builds.set()
        assert may_end.wait(60)
        fast(output, work, handle)

    def stand_still(held: lease.Lease) -> bool:
        answer = is_held(held)
        if threading.current_thread() is threading.main_thread():
            looks.append(answer)
            if len(looks) == look + 1:
                others.append(pool.submit(fast_store.ensure, ingredients(), build, why_stale=always, log=print))
                assert builds.wait(60)
                if is_done:
                    may_end.set()
                    others[0].result(60)
        return answer

    monkeypatch.setattr(lease.Lease, "is_held", stand_still)
    fast_store = Store(shelf.store.root, lease_seconds=0.05)
    others: list[Future[tuple[Artifact, bool]]] = []
    with ThreadPoolExecutor(1) as pool:
        try:
            # At its last look it has what it came for, and nothing left to do.
            has_all = found in ("whole", "left-aside") and look == 1
            with nullcontext() if has_all else pytest.raises(LeaseLostError):
                shelf.store.ensure(ingredients(), slow, why_stale=lambda path: why, log=shelf.lines.append)
        finally:
            may_end.set()
        built, was_there = others[0].result(60)
    assert not was_there
    assert looks[look]
    assert shelf.store.look_up("train", KEY).artifact == built
    assert (shelf.path / "model" / "weights").read_text() == "fast"
    assert list((shelf.home / ".staging").iterdir()) == []
    assert shelf.ensure() == (built, True)


def test_a_writer_that_makes_its_folders_again_changes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = Builder("fast")
    monkeypatch.setattr(lease, "_RENEWALS_PER_EXPIRY", 1e-6)  # the slow one never renews

    def build(output: Path, work: Path, handle: int) -> None:
        Store(shelf.store.root, lease_seconds=0.05).ensure(ingredients(), fast, log=shelf.lines.append)
        (output / "model").mkdir(parents=True)  # as libraries do that save a model
        (output / "model" / "weights").write_text("slow")

    with pytest.raises(LeaseLostError):
        shelf.store.ensure(ingredients(), build, log=shelf.lines.append)
    assert (shelf.path / "model" / "weights").read_text() == "fast"
    assert list((shelf.home / ".staging").iterdir()) == []


@pytest.mark.parametrize("then", ["fails", "writes", "makes-its-folders-again"])
@pytest.mark.parametrize("removed", ["store", ".leases"])
def test_a_writer_under_whom_the_store_is_removed_changes_nothing_of_the_next_one(
    removed: str, then: str, shelf: Shelf
) -> None:
    """Somebody took it for stuck and began anew; tokens, too, begin anew."""
    fast = Builder("fast")
    builds, may_end = threading.Event(), threading.Event()
    folders: list[Path] = []

    def build_fast(output: Path, work: Path, handle: int) -> None:
        folders.extend((output, work))
        builds.set()
        assert may_end.wait(60)
        fast(output, work, handle)  # it looks whether the output is empty

    def build_slow(output: Path, work: Path, handle: int) -> None:
        (work / "checkpoint").write_text("")
        shutil.rmtree(shelf.store.root if removed == "store" else shelf.home / removed)
        others.append(pool.submit(shelf.store.ensure, ingredients(), build_fast, log=print))
        assert builds.wait(60)
        if then == "fails":
            raise ValueError("no")
        (output / "model").mkdir(parents=then != "writes")
        (output / "model" / "weights").write_text("slow")

    others: list[Future[tuple[Artifact, bool]]] = []
    with ThreadPoolExecutor(1) as pool:
        try:
            with pytest.raises(LeaseLostError):
                shelf.store.ensure(ingredients(), build_slow, log=shelf.lines.append)
            assert all(folder.is_dir() for folder in folders)
        finally:
            may_end.set()
        built, was_there = others[0].result(60)
    assert not was_there
    assert fast.work_seen == [[] if removed == "store" else ["checkpoint"]]
    assert shelf.store.look_up("train", KEY).artifact == built
    assert (shelf.path / "model" / "weights").read_text() == "fast"
    assert list((shelf.home / ".staging").iterdir()) == []
