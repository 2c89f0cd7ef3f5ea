"""A run that stands at a place: the training waits there until it is let go."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.command import Command, children_of

FIRST_CHECKPOINT = "train podsquad.runtimes.checkpoints:save:move_folder:rename after"
_LONGEST_SECONDS = 240.0


class Held:
    """``podsquad run`` in ``command``'s folder, whose training stands at its first checkpoint."""

    def __init__(self, command: Command, *sets: str, place: str = FIRST_CHECKPOINT) -> None:
        self._gate = command.folder / "gate"
        self._gate.write_text("closed", encoding="utf-8")
        self.command = command
        self.process = command.start(*sets, CRASH_HOLD=place, CRASH_GATE=str(self._gate))
        self.wait("reached")
        (self.runtime,) = children_of(self.process.pid, command.runtime)

    def wait(self, word: str) -> None:
        """Return when the gate says that word (switch/sitecustomize.py)."""
        wait_for(lambda: self._gate.read_text(encoding="utf-8") == word, self.command, self.process)

    def let_go(self) -> None:
        """Let it go on, and whoever comes there later."""
        self._gate.unlink(missing_ok=True)

    def end(self) -> int:
        """Wait for the command's end and return its exit code."""
        try:
            return self.process.wait(timeout=300)
        finally:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], bool], command: Command, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return when it is true; fail when the process has ended before, or after a long time."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not condition():
        assert process is None or process.poll() is None, command.told()
        assert time.monotonic() < deadline, command.told()
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def written(folder: Path) -> dict[str, int]:
    """Return the time of the last change of everything below a folder."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            found[path] = os.lstat(path).st_ctime_ns
    return found
