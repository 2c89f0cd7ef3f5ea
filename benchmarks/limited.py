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

    It gets a process group of its own, which is killed whole: what it has started may hang as well. ``errors``: the
    file that its standard error goes to; a pipe would stay open for as long as one of them lives.
    """
    with contextlib.ExitStack() as opened:
        told = opened.enter_context(errors.open("wb")) if errors else None
        child = opened.enter_context(subprocess.Popen(command, start_new_session=True, stderr=told))
        try:
            return child.wait(timeout=seconds)
        except BaseException as stopped:
            os.killpg(child.pid, signal.SIGKILL)
            if not isinstance(stopped, subprocess.TimeoutExpired):
                raise
            return None
