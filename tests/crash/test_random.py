"""Killed at random instants, all processes or one of them, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.crash.command import Command, children_of
from tests.crash.conftest import Undisturbed

SEED = os.environ.get("PODSQUAD_CRASH_SEED", str(time.time_ns()))


@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_instants_ends_in_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
) -> None:
    kill_at_random(Command(tmp_path, prefect_server), undisturbed, kills=10)


@pytest.mark.crash
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_a_run_killed_a_long_time_through_ends_in_the_same_bytes(
    part: int, undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
) -> None:
    kill_at_random(Command(tmp_path, prefect_server), undisturbed, kills=20, part=part)


def kill_at_random(command: Command, undisturbed: Undisturbed, kills: int, part: int = 0) -> None:
    """Kill a run ``kills`` times: the command, its runtime, or both; then let it end, and compare.

    A run that ends before its instant begins again in an empty folder.
    """
    dice = random.Random(f"{SEED} {part}")
    print(f"PODSQUAD_CRASH_SEED={SEED} makes these kills again")
    done = 0
    while done < kills:
        process = command.start()
        instant = dice.uniform(0.0, undisturbed.seconds)
        victims = dice.choice(("both", "command", "runtime"))
        try:
            process.wait(timeout=instant)
        except subprocess.TimeoutExpired:
            done += kill(process, victims)
        if process.poll() == 0:
            check(command, undisturbed)
            command.forget()
        else:
            assert process.returncode in (-signal.SIGKILL, 75), f"{victims} at {instant:.3f} s:\n{command.told()}"
    command.finish()
    check(command, undisturbed)


def kill(process: subprocess.Popen[bytes], victims: str) -> int:
    """Kill what is to be killed and wait for the command's end; return the number of kills."""
    runtimes = children_of(process.pid, "podsquad.runtimes.torch")
    kills = 0
    if victims in ("both", "runtime") and runtimes:
        os.kill(runtimes[0], signal.SIGKILL)
        kills = 1
    if victims in ("both", "command"):
        process.kill()
        kills = 1
    # A command that lost its runtime alone tries again by itself.
    process.wait(timeout=300)
    return kills


def check(command: Command, undisturbed: Undisturbed) -> None:
    assert command.made() == undisturbed.made, command.told()
    assert command.leftovers() == []
