"""Killed at random instants, all processes or one of them, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.command import Command
from tests.crash.random_kills import kill_at_random
from tests.crash.whole import Whole, in_two_chains


@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_instants_ends_in_the_same_bytes(
    undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    kill_two_at_random(undisturbed, tmp_path, prefect_server, kills=5, parts=(0, 1))


@pytest.mark.crash
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("pair", range(4))
def test_a_run_killed_a_long_time_through_ends_in_the_same_bytes(
    pair: int, undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    kill_two_at_random(undisturbed, tmp_path, prefect_server, kills=20, parts=(2 * pair, 2 * pair + 1))


def kill_two_at_random(undisturbed: Whole, folder: Path, server: str, *, kills: int, parts: tuple[int, int]) -> None:
    """Kill two runs at a time, each so often."""

    def chain(number: int) -> None:
        command = Command(folder / str(number), server)
        kill_at_random(command, undisturbed.made, undisturbed.seconds, kills=kills, part=parts[number])

    in_two_chains(chain)
