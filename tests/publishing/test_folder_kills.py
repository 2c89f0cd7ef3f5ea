"""A publisher that is killed at any step in a folder leaves a whole version current, and the next run makes good.

The steps are found from the code as it runs: every call of the operating system that changes a name or waits for the
disk, in an undisturbed run. A forked child dies by SIGKILL right before or right after one of them.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podsquad.publishing.folder import FolderTarget
from tests.publishing.hub_place import Model, make_model

STEPS = ("mkdir", "rename", "replace", "symlink", "fsync", "unlink", "rmdir")


def run_until(act: Callable[[], object], number: int, after: bool) -> int:
    """Run ``act`` in a forked child that dies at its step of that number; return its status: 0 where it has fewer."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            done = 0

            def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
                def step(*arguments: Any, **options: Any) -> Any:
                    nonlocal done
                    done += 1
                    if done == number and not after:
                        os.kill(os.getpid(), signal.SIGKILL)
                    try:
                        return None if call.__name__ == "fsync" else call(*arguments, **options)
                    finally:
                        if done == number:
                            os.kill(os.getpid(), signal.SIGKILL)

                return step

            for name in STEPS:
                setattr(os, name, stepping(getattr(os, name)))
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def silent(folder: Path) -> None:
    return


class Shop:
    """A folder with two versions, made again for each kill."""

    def __init__(self, root: Path) -> None:
        self.root, self.before = root, root / "before"
        self.models = [make_model(root, number, extra="vocab.txt" if number == 1 else "") for number in (1, 2, 3)]
        for model in self.models[:2]:
            FolderTarget(self.before, "reader").publish(model.key, model.files, silent)

    def again(self) -> FolderTarget:
        shutil.rmtree(self.root / "now", ignore_errors=True)
        shutil.copytree(self.before, self.root / "now", symlinks=True)
        return FolderTarget(self.root / "now", "reader")


def check_whole(target: FolderTarget, models: list[Model]) -> None:
    """Check that users find one of the versions, byte for byte."""
    found = {
        path.relative_to(target.pointer).as_posix(): path.read_bytes()
        for path in target.pointer.rglob("*")
        if path.is_file() and path.name != "files.json"
    }
    assert found in [model.contents for model in models]


def check_clean(target: FolderTarget) -> None:
    assert sorted(entry.name for entry in target.home.iterdir()) == [".lock", "current", "turns.json", "versions"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_step_of_a_first_version(tmp_path: Path, after: bool) -> None:
    model = make_model(tmp_path, 1)
    number, status = 0, -1
    while status != 0:
        number += 1
        shutil.rmtree(tmp_path / "now", ignore_errors=True)
        target = FolderTarget(tmp_path / "now", "reader")
        status = run_until(lambda target=target: target.publish(model.key, model.files, silent), number, after)
        if target.pointer.exists():
            check_whole(target, [model])
        target.publish(model.key, model.files, silent, target.state().expected)
        assert target.why_not_held(model.key) == ""
        assert [each.key for each in target.state().versions] == [model.key]
        check_clean(target)
    assert number > 15


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_step_of_a_next_version(tmp_path: Path, after: bool) -> None:
    shop = Shop(tmp_path)
    first, second, third = shop.models
    number, status = 0, -1
    while status != 0:
        number += 1
        target = shop.again()
        judged = target.state().expected
        status = run_until(lambda target=target: target.publish(third.key, third.files, silent), number, after)
        check_whole(target, [second, third])
        target.publish(third.key, third.files, silent, judged)  # the same decision, taken up again
        assert target.why_not_held(third.key) == ""
        assert [each.key for each in target.state().versions] == [third.key, second.key, first.key]
        check_clean(target)
    assert number > 15


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_step_of_a_rollback(tmp_path: Path, after: bool) -> None:
    shop = Shop(tmp_path)
    first, second, _ = shop.models
    number, status = 0, -1
    while status != 0:
        number += 1
        target = shop.again()
        status = run_until(lambda target=target: target.rollback(first.tag, "slow", silent), number, after)
        check_whole(target, [first, second])
        state = target.state()
        assert state.champion is not None
        # What is current and what is withdrawn change in one step.
        assert (set(state.withdrawn) == {second.tag}) == (state.champion.key == first.key)
        target.rollback(first.tag, "slow", silent)
        state = target.state()
        assert set(state.withdrawn) == {second.tag}
        assert [each.key for each in state.versions] == [first.key, second.key]
        assert target.why_not_held(first.key) == ""
        check_clean(target)
    assert number > 4


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_step_of_a_repair_leaves_users_a_version_after_any_next_call(
    tmp_path: Path, after: bool
) -> None:
    shop = Shop(tmp_path)
    first, second, _ = shop.models
    number, status = 0, -1
    while status != 0:
        number += 1
        target = shop.again()
        (target.pointer / "README.md").write_bytes(b"by hand")
        status = run_until(lambda target=target: target.publish(second.key, second.files, silent), number, after)
        target.settle()  # as a night does that publishes nothing
        assert (target.pointer / "model.safetensors").read_bytes() == second.contents["model.safetensors"]
        check_clean(target)
        target.publish(second.key, second.files, silent)
        check_whole(target, [second])
        assert [each.key for each in target.state().versions] == [second.key, first.key]
    assert number > 15
