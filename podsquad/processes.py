"""Processes of this machine that were started earlier, known again by more than their number."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from podsquad.store.durable import parse_json, write_json


@dataclass(frozen=True)
class ProcessRecord:
    """A process by its number and its birth: the number alone may be another's by now."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """Return the record of a process that lives. Raises ProcessLookupError."""
        if not (born := _birth(pid)):
            raise ProcessLookupError(f"there is no process {pid}")
        return cls(pid, born)

    def is_alive(self) -> bool:
        """Tell whether that very process still runs; a zombie does not."""
        return _birth(self.pid) == self.born


def write_record(path: Path, process: ProcessRecord, **more: Any) -> None:
    """Write durably what to know a process by, and what else belongs to it, as JSON."""
    write_json(path, {**asdict(process), **more})


def read_record(path: Path) -> tuple[ProcessRecord, dict[str, Any]] | None:
    """Return a written record and the rest; None when there is none, or it is none."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return ProcessRecord(int(content.pop("pid")), str(content.pop("born"))), content
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def children_of(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started and that live, in no order."""
    if not Path("/proc/self/stat").exists():
        told = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=False).stdout
        pairs = [line.split() for line in told.splitlines()]
        return [int(child) for parent, child in pairs if int(parent) == pid]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(folder.name))
    return found


def _birth(pid: int) -> str:
    """Return when the process began, as a text that no other process of this machine has; empty when it is gone."""
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    try:
        # The name in parentheses may hold anything; the state and the start time come after it (man 5 proc).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, ticks = fields[0], fields[19]
    boot = Path("/proc/sys/kernel/random/boot_id")
    return "" if state in "ZX" else f"{boot.read_text().strip() if boot.exists() else ''}:{ticks}"


def _birth_by_ps(pid: int) -> str:
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    state, _, born = told.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else born.strip()
