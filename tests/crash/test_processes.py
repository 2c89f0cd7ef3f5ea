"""The command or its runtime is killed or stopped, or two runs meet: the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.command import VERDICT, Command, Unpublished
from tests.crash.held import Held, lives, wait_for, written
from tests.crash.whole import Whole


@pytest.fixture
def command(tmp_path: Path, prefect_server: str, undisturbed: Whole) -> Command:
    """A folder in which everything before the training is made."""
    made = Unpublished(tmp_path, prefect_server)
    made.copy_from(undisturbed.store, "download", "tokenize", "compile")
    return made


def in_store(made: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in made.items() if "/publish" not in name and not name.startswith(VERDICT)}


def check_whole(command: Command, undisturbed: Whole) -> None:
    assert command.made() == in_store(undisturbed.made), command.told()
    assert command.leftovers() == []
    command.check_secrets()


def test_a_command_that_is_killed_alone_leaves_no_runtime_that_writes(command: Command, undisturbed: Whole) -> None:
    held = Held(command)
    held.process.kill()
    held.process.wait()
    held.let_go()
    wait_for(lambda: not lives(held.runtime), command)
    assert not list(command.store.glob("train/[0-9a-f]*"))
    assert command.newest_checkpoint()
    command.finish()
    assert "going on from the checkpoint of step" in command.whole_log()
    check_whole(command, undisturbed)


def test_an_orphan_that_wakes_after_another_run_took_over_writes_nothing(command: Command, undisturbed: Whole) -> None:
    held = Held(command)
    os.kill(held.runtime, signal.SIGSTOP)
    held.process.kill()
    held.process.wait()
    held.let_go()
    command.finish("store.lease_seconds=2")
    check_whole(command, undisturbed)
    left = written(command.store)
    os.kill(held.runtime, signal.SIGCONT)
    wait_for(lambda: not lives(held.runtime), command)
    assert written(command.store) == left
    check_whole(command, undisturbed)


def test_a_runtime_that_is_killed_alone_is_started_again_by_the_same_command(
    command: Command, undisturbed: Whole
) -> None:
    held = Held(command)
    held.let_go()
    os.kill(held.runtime, signal.SIGKILL)
    assert held.end() == 0, command.told()
    assert "train is tried again: the runtime torch was killed by SIGKILL while it had to train" in command.whole_log()
    check_whole(command, undisturbed)


def test_a_command_that_is_asked_to_stop_saves_and_ends_with_75(command: Command, undisturbed: Whole) -> None:
    held = Held(command)
    held.process.send_signal(signal.SIGTERM)
    held.wait("stopped")
    held.let_go()
    assert held.end() == 75, command.told()
    assert not lives(held.runtime)
    saved = command.newest_checkpoint()
    assert saved
    assert "Traceback" not in command.whole_log()
    command.finish()
    assert "going on from the checkpoint of step" in command.whole_log()
    check_whole(command, undisturbed)


def test_of_two_runs_of_the_same_one_builds_and_the_other_waits_and_reuses(
    command: Command, undisturbed: Whole
) -> None:
    first = Held(command)
    second = command.start()
    wait_for(lambda: "another run is building" in command.whole_log(), command, second)
    first.let_go()
    assert first.end() == 0, command.told()
    assert second.wait(timeout=300) == 0, command.told()
    log = command.whole_log()
    assert log.count("train is done in") == 1
    assert log.count("train reuses") == 1
    check_whole(command, undisturbed)


def test_two_runs_of_different_things_both_proceed(command: Command, undisturbed: Whole) -> None:
    first = Held(command)
    # The other one trains and evaluates while this one stands.
    command.finish("training.seed=5")
    assert first.process.poll() is None
    assert len(list(command.store.glob("train/[0-9a-f]*"))) == 1
    first.let_go()
    assert first.end() == 0, command.told()
    assert len(list(command.store.glob("train/[0-9a-f]*"))) == 2
    made = command.made()
    assert all(made[name] == digest for name, digest in in_store(undisturbed.made).items())
    assert command.leftovers() == []
