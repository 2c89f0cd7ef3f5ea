"""Running a program for so long and no longer, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_limited(command: Sequence[str], seconds: float, errors: Path | None = None) -> int | None:
    """Run a command and return its exit code; None when it had not ended after ``seconds`` and was killed.

    Killed with it is what it has started, which may hang as well: its process group, and on Linux what has left that
    for a session of its own, as podsquad's runtimes do. ``errors``: the file that its standard error goes to; a pipe
    would stay open for as long as one of them lives.
    """
    with contextlib.ExitStack() as opened:
        told = opened.enter_context(errors.open("wb")) if errors else None
        child = opened.enter_context(subprocess.Popen(command, start_new_session=True, stderr=told))
        try:
            return child.wait(timeout=seconds)
        except BaseException as stopped:
            family = family_ticks(child.pid)
            os.killpg(child.pid, signal.SIGKILL)
            for process in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if not isinstance(stopped, subprocess.TimeoutExpired):
                raise
            return None


def family_ticks(pid: int) -> dict[int, int]:
    """Return the processor's clock ticks of a running process and of each below it, those it waited for included.

    The process itself comes first. Empty where there is no /proc.
    """
    children, ticks = dict[int, list[int]](), dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold anything: the third field is the state, the fourth the parent.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        process = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        ticks[process] = sum(map(int, fields[11:15]))  # its own, and of its children that it has waited for
    family = [pid]
    for process in family:
        family += children.get(process, [])
    return {process: ticks[process] for process in family if process in ticks}
