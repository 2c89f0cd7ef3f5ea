"""Killed at every place where the IPU program makes something durable, a night ends in the bytes of an undisturbed one.

Over the emulation, in float32 without stochastic rounding, which resumes to the same bytes. What the flow makes durable
around the program is the same for every runtime: test_points.py kills there.
"""

from __future__ import annotations

from pathlib import Path

from tests.crash.command import KILLED
from tests.crash.pod import MARKS, TRAINED, PodCommand
from tests.crash.points import points_in_code
from tests.crash.whole import Whole, in_two_chains

pytestmark = MARKS
PROGRAM = ("podsquad.runtimes.ipu.", "podsquad.runtimes.emulator.", "podsquad.runtimes.checkpoints:")
# Places that no night comes to.
NEVER = {
    "podsquad.runtimes.emulator.packages.poptorch.archive:write:replace": "compileAndExport: never called",
    "podsquad.runtimes.checkpoints:_set_aside:rename": "a damaged checkpoint: test_accidents.py",
}


def places_of_the_program(pod_night: Whole) -> list[str]:
    return [place for place in pod_night.places if place.split()[1].startswith(PROGRAM)]


def test_every_durable_write_of_the_program_is_a_place_where_we_kill(pod_night: Whole) -> None:
    visited = {":".join(place.split()[1].split(":")[:3]) for place in places_of_the_program(pod_night)}
    of_the_program = {point for point in points_in_code() if point.startswith(PROGRAM)}
    assert visited | NEVER.keys() == of_the_program
    assert sorted(visited & NEVER.keys()) == []


def test_a_night_killed_at_every_place_ends_in_the_same_bytes(
    pod_night: Whole, tmp_path: Path, prefect_server: str
) -> None:
    """Two chains share the places: each night of a chain goes on from where the one before was killed."""
    places = places_of_the_program(pod_night)
    assert TRAINED in places
    assert any("checkpoints:save:move_folder" in place for place in places)

    def chain(number: int) -> None:
        command = PodCommand(tmp_path / str(number), prefect_server)
        for place in places[number::2]:
            assert command.run(CRASH_AT=place) == KILLED, f"not killed at {place}:\n{command.told()}"
            if place == TRAINED:
                assert command.newest_checkpoint() == pod_night.checkpoint
        command.finish()
        assert command.made() == pod_night.made
        assert command.leftovers() == []

    in_two_chains(chain)
