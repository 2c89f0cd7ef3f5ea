"""Killed at random instants, all processes or one of them, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.command import Command
from tests.crash.conftest import Undisturbed
from tests.crash.random_kills import kill_at_random


@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_instants_ends_in_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
) -> None:
    kill_at_random(Command(tmp_path, prefect_server), undisturbed.made, undisturbed.seconds, kills=10)


@pytest.mark.crash
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(8))
def test_a_run_killed_a_long_time_through_ends_in_the_same_bytes(
    part: int, undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
) -> None:
    command = Command(tmp_path, prefect_server)
    kill_at_random(command, undisturbed.made, undisturbed.seconds, kills=20, part=part)
