"""Killed at every named place where something becomes durable, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.crash.accidents import ACCIDENTS
from tests.crash.command import KILLED, TRAINED, Command
from tests.crash.points import points_in_code
from tests.crash.whole import Whole, in_two_chains

# What a night without accidents never comes to: test_accidents.py kills there.
IN_ACCIDENTS = {accident.point.rpartition(":")[0] for accident in ACCIDENTS.values()}
# The version is current, and its verdict is not remembered.
CURRENT = "- podsquad.publishing.folder:_turn:replace:replace after"
# Places that this run does not come to, by the beginning of their names, and why nobody is killed there.
ELSEWHERE = {
    "podsquad.store.artifacts:_set_aside:rename#2": "puts back what another writer made meanwhile; killed before it, "
    "that is built again. tests/store/test_artifacts_writers.py comes there with a process that stood still",
    "podsquad.store.retention:": "of `podsquad gc`; what a kill leaves in .staging, the next one removes",
    "podsquad.processes:write_record:": "a server's record for `make down`; no part of a run",
    "podsquad.published_model:": "of `podsquad ask`, which fetches again what a kill left; no part of a run",
    "podsquad.command.ask:": "of `podsquad ask`: a file of answers; no part of a run",
    "podsquad.runtimes.ipu.": "test_ipu_points.py kills there, over the emulation",
    "podsquad.runtimes.emulator.": "as those of the IPU runtime, which alone uses it",
}


def test_every_durable_write_of_the_code_is_a_place_where_we_kill(undisturbed: Whole) -> None:
    visited = {":".join(place.split()[1].split(":")[:3]) for place in undisturbed.places}
    elsewhere = {point for point in points_in_code() if point.startswith(tuple(ELSEWHERE))}
    assert visited | IN_ACCIDENTS | elsewhere == points_in_code()
    assert sorted(visited & elsewhere) == []
    assert all(any(point.startswith(begin) for point in elsewhere) for begin in ELSEWHERE)


@pytest.mark.timeout(1800)
def test_a_run_killed_at_every_place_ends_in_the_same_bytes(
    undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    """Killed before each: what is on the disk then is what there is after the one before it.

    But for what is written in place, which is there before its flush: killed after what comes before it, too. And after
    the last.
    """
    places = [
        place
        for place, following in pairwise([*undisturbed.places, ""])
        if place.endswith(" before") or following.endswith(":fsync before") or not following
    ]
    assert CURRENT in places
    kill_in_two_chains(undisturbed, places, tmp_path, prefect_server)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_a_run_killed_after_every_place_ends_in_the_same_bytes(
    undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    before, after = (
        [place for place in undisturbed.places if place.endswith(f" {phase}")] for phase in ("before", "after")
    )
    assert [place.split()[:2] for place in before] == [place.split()[:2] for place in after]
    kill_in_two_chains(undisturbed, after, tmp_path, prefect_server)


def kill_in_two_chains(undisturbed: Whole, places: list[str], folder: Path, server: str) -> None:
    """Two chains share the places: each run of a chain goes on from where the one before was killed."""

    def chain(number: int) -> None:
        command = Command(folder / str(number), server)
        for place in places[number::2]:
            assert command.run(CRASH_AT=place) == KILLED, f"not killed at {place}:\n{command.told()}"
            if place == TRAINED:
                assert command.newest_checkpoint() == undisturbed.checkpoint
        command.finish()
        assert command.made() == undisturbed.made
        assert command.leftovers() == []

    in_two_chains(chain)
