"""Killed at every place where the IPU program makes something durable, a night ends in the bytes of an undisturbed one.

Over the emulation, in float32 without stochastic rounding, which resumes to the same bytes. What the flow makes durable
around the program is the same for every runtime: test_points.py kills there.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.command import KILLED, Command
from tests.crash.points import points_in_code
from tests.runtimes.ipu.made_up import IPU_PYTHON, SMALL_NIGHT

pytestmark = [
    pytest.mark.ipu,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not IPU_PYTHON.exists(), reason=f"{IPU_PYTHON} is not there: make ipu-env"),
]
PROGRAM = ("podsquad.runtimes.ipu.", "podsquad.runtimes.emulator.", "podsquad.runtimes.checkpoints:")
# Places that no night comes to.
NEVER = {
    "podsquad.runtimes.emulator.packages.poptorch.archive:write:replace": "compileAndExport: never called",
    "podsquad.runtimes.checkpoints:_set_aside:rename": "a damaged checkpoint: test_accidents.py",
}
# The training is done, and nothing of its result is written.
TRAINED = "train podsquad.runtimes.ipu.train:write:write_bytes:replace before"


class PodCommand(Command):
    """A small night on the emulated POD: a checkpoint after every step but the last."""

    profile = "pod16-emulated"
    published = "demo-reader-ipu"
    # The emulation's programs are compared too.
    told_anew = re.compile(r"(^|/)(record/.*|README\.md|(manifest|files|publication|verdict)\.json)$")
    settings = SMALL_NIGHT


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> PodCommand:
    """A night that nobody kills."""
    command = PodCommand(tmp_path_factory.mktemp("whole"), prefect_server)
    command.finish()
    return command


def places_of_the_program(command: Command) -> list[str]:
    return [place for place in command.places() if place.split()[1].startswith(PROGRAM)]


def test_every_durable_write_of_the_program_is_a_place_where_we_kill(whole: PodCommand) -> None:
    visited = {":".join(place.split()[1].split(":")[:3]) for place in places_of_the_program(whole)}
    of_the_program = {point for point in points_in_code() if point.startswith(PROGRAM)}
    assert visited | NEVER.keys() == of_the_program
    assert sorted(visited & NEVER.keys()) == []


def test_a_night_killed_at_every_place_ends_in_the_same_bytes(
    whole: PodCommand, tmp_path: Path, prefect_server: str
) -> None:
    """Two chains share the places: each night of a chain goes on from where the one before was killed."""
    places = places_of_the_program(whole)
    assert TRAINED in places
    assert any("checkpoints:save:move_folder" in place for place in places)

    def chain(number: int) -> None:
        command = PodCommand(tmp_path / str(number), prefect_server)
        for place in places[number::2]:
            assert command.run(CRASH_AT=place) == KILLED, f"not killed at {place}:\n{command.told()}"
        command.finish()
        assert command.made() == whole.made()
        assert command.leftovers() == []

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(chain, number) for number in (0, 1)]:
            future.result()
