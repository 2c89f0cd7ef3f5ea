"""Kills at random instants, drawn from a seed that is printed: PODSQUAD_CRASH_SEED makes them again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from tests.crash.command import Command, children_of

SEED = os.environ.get("PODSQUAD_CRASH_SEED", str(time.time_ns()))
VICTIMS = ("all", "command", "runtime")


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

    Instants lie within ``seconds``, what an undisturbed run takes. A run that ends before its instant begins again in
    an empty folder, to which ``begin`` gives what is made already. Where the runtime has processes beside it, one of
    them may be killed in its stead.
    """
    dice = random.Random(f"{SEED} {part}")
    print(f"PODSQUAD_CRASH_SEED={SEED} makes these kills again")
    done = 0
    while done < kills:
        process = command.start()
        instant = dice.uniform(0.0, seconds)
        victims, sibling = dice.choice(VICTIMS), dice.random() < 0.5
        try:
            process.wait(timeout=instant)
        except subprocess.TimeoutExpired:
            done += _kill(command, process, victims, sibling)
        if process.poll() == 0:
            check(command, made)
            command.forget()
            begin()
        else:
            assert process.returncode in (-signal.SIGKILL, 75), f"{victims} at {instant:.3f} s:\n{command.told()}"
    command.finish()
    check(command, made)


def _kill(command: Command, process: subprocess.Popen[bytes], victims: str, sibling: bool) -> int:
    """Kill what is to be killed and wait for the command's end; return the number of kills."""
    runtimes = children_of(process.pid, command.runtime)
    kills = 0
    if victims in ("all", "runtime") and runtimes:
        beside = children_of(runtimes[0], command.runtime)
        os.kill((beside if beside and sibling else runtimes)[0], signal.SIGKILL)
        kills = 1
    if victims in ("all", "command"):
        process.kill()
        kills = 1
    # A command that lost its runtime alone tries again by itself.
    process.wait(timeout=300)
    return kills


def check(command: Command, made: Mapping[str, str]) -> None:
    """The run made what it should, and left nothing else."""
    assert command.made() == made, command.told()
    assert command.leftovers() == []
    command.check_secrets()
