"""Two processes that train together are killed, both or one, or stopped: the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.command import KILLED, SETTINGS, TRAINED, Unpublished, children_of
from tests.crash.held import Held, lives, wait_for
from tests.crash.random_kills import kill_at_random
from tests.crash.whole import Whole

BEFORE = ("download", "tokenize", "compile")
# What the two make durable; the rest of the training's places is the command's, as with one process.
WRITTEN = ("podsquad.runtimes.checkpoints:", "podsquad.runtimes.torch.")


class Together(Unpublished):
    """The command whose training has two processes."""

    settings = (*SETTINGS, "runtime.processes=2", "runtime.threads=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, undisturbed: Whole, prefect_server: str) -> Whole:
    command = Together(tmp_path_factory.mktemp("two"), prefect_server)
    command.copy_from(undisturbed.store, "download", "tokenize")
    return Whole(command)


@pytest.fixture
def command(tmp_path: Path, prefect_server: str, whole: Whole) -> Together:
    """A folder in which everything before the training is made."""
    made = Together(tmp_path, prefect_server)
    made.copy_from(whole.store, *BEFORE)
    return made


def check_whole(command: Together, whole: Whole) -> None:
    assert command.made() == whole.made, command.told()
    assert command.leftovers() == []
    command.check_secrets()


def places_of_the_training(whole: Whole) -> list[str]:
    """What comes before the training knows nothing of its processes: test_points.py kills there."""
    return [place for place in whole.places if place.startswith("train ") and place.endswith("before")]


def kill_at(command: Together, whole: Whole, places: list[str]) -> None:
    assert TRAINED in places
    assert any("checkpoints:save:move_folder" in place for place in places)
    for place in places:
        assert command.run(CRASH_AT=place) == KILLED, f"not killed at {place}:\n{command.told()}"
        if place == TRAINED:
            assert command.newest_checkpoint() == whole.checkpoint
    command.finish()
    assert "going on from the checkpoint of step" in command.whole_log()
    check_whole(command, whole)


@pytest.mark.timeout(1800)
def test_two_processes_killed_where_they_write_end_in_the_same_bytes(command: Together, whole: Whole) -> None:
    written = [place for place in places_of_the_training(whole) if place.split()[1].startswith(WRITTEN)]
    kill_at(command, whole, written)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_two_processes_killed_at_every_place_of_their_training_end_in_the_same_bytes(
    command: Together, whole: Whole
) -> None:
    kill_at(command, whole, places_of_the_training(whole))


def test_one_of_two_is_killed_alone_and_the_same_command_starts_both_again(command: Together, whole: Whole) -> None:
    held = Held(command)
    (sibling,) = children_of(held.runtime, command.runtime)
    os.kill(sibling, signal.SIGKILL)
    wait_for(lambda: not lives(held.runtime), command)
    held.let_go()
    assert held.end() == 0, command.told()
    assert "rank 1 of the training ended with signal 9" in command.whole_log()
    assert command.whole_log().count("going on from the checkpoint of step") == 1
    check_whole(command, whole)


def test_two_that_are_asked_to_stop_save_and_end_with_75(command: Together, whole: Whole) -> None:
    held = Held(command)
    (sibling,) = children_of(held.runtime, command.runtime)
    held.process.send_signal(signal.SIGTERM)
    held.wait("stopped")
    held.let_go()
    assert held.end() == 75, command.told()
    wait_for(lambda: not lives(held.runtime) and not lives(sibling), command)
    assert command.newest_checkpoint()
    assert "Traceback" not in command.whole_log()
    command.finish()
    assert "going on from the checkpoint of step" in command.whole_log()
    check_whole(command, whole)


@pytest.mark.crash
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(2))
def test_two_processes_killed_at_random_instants_end_in_the_same_bytes(
    part: int, command: Together, whole: Whole
) -> None:
    def begin() -> None:
        command.copy_from(whole.store, *BEFORE)

    kill_at_random(command, whole.made, whole.seconds, kills=20, part=part, begin=begin)
