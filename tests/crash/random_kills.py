"""Kills at random instants, drawn from a seed that is printed: PODSQUAD_CRASH_SEED makes them again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from tests.crash.command import KILLED, Command, children_of

SEED = os.environ.get("PODSQUAD_CRASH_SEED", str(time.time_ns()))
VICTIMS = ("all", "command", "runtime")
ENDS = (0, KILLED, 75)  # 75: it lost its runtime too often


def kill_at_random(
    command: Command,
    made: Mapping[str, str],
    seconds: float,
    *,
    kills: int,
    part: int = 0,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Kill a run ``kills`` times: the command, its runtime, or both; then let it end, and compare with ``made``.

    Instants lie within ``seconds``, what an undisturbed run takes, those of every second part within its half: what an
    earlier kill left is gone on from, and those meet more of a run's middle, these more of its end. One that lost its
    runtime alone tries again by itself, and is killed on. A run that ends before its instant begins again in an empty
    folder, to which ``begin`` gives what is made already. Where the runtime has processes beside it, one of them may be
    killed in its stead.
    """
    dice = random.Random(f"{SEED} {part}")
    latest = seconds / 2 if part % 2 else seconds
    print(f"PODSQUAD_CRASH_SEED={SEED} makes these kills again")
    done, process = 0, command.start()
    try:
        while done < kills:
            instant = dice.uniform(0.0, latest)
            victims, sibling = dice.choice(VICTIMS), dice.random() < 0.5
            try:
                process.wait(timeout=instant)
            except subprocess.TimeoutExpired:
                done += _kill(command, process, victims, sibling)
            if process.poll() is None:
                continue
            assert process.returncode in ENDS, f"{victims} at {instant:.3f} s:\n{command.told()}"
            if process.returncode == 0:
                check(command, made)
                command.forget()
                begin()
            process = command.start()
        assert process.wait(timeout=300) in ENDS, command.told()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        command.finish()
    check(command, made)


def _kill(command: Command, process: subprocess.Popen[bytes], victims: str, sibling: bool) -> int:
    """Kill what is to be killed; return the number of kills."""
    runtimes = children_of(process.pid, command.runtime)
    kills = 0
    if victims in ("all", "runtime") and runtimes:
        beside = children_of(runtimes[0], command.runtime)
        os.kill((beside if beside and sibling else runtimes)[0], signal.SIGKILL)
        kills = 1
    if victims in ("all", "command"):
        process.kill()
        kills = 1
        process.wait()
    return kills


def check(command: Command, made: Mapping[str, str]) -> None:
    """The run made what it should, and left nothing else."""
    assert command.made() == made, command.told()
    assert command.leftovers() == []
    command.check_secrets()
