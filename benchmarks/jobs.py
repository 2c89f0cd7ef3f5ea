"""Running the genuine torch runtime as a process, for benchmarks: to its end, or to a training's first step."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.limited import family_ticks
from podsquad.runtimes.job import Job


@dataclass(frozen=True)
class Ran:
    """What a run of the runtime took, from the start of its process, and what it told."""

    seconds: float
    processor_seconds: float
    events: list[dict[str, Any]]

    def decisions(self) -> dict[str, str]:
        """Return what was decided, with the reasons."""
        return {
            event["name"]: f"{event['value']}: {event['reason']}"
            for event in self.events
            if event["event"] == "decision"
        }

    def compiled_anew(self) -> bool:
        """Tell whether a training said that it compiled what the executable should have held."""
        return any("compiled anew" in event.get("message", "") for event in self.events)


def run_job(
    root: Path, verb: str, settings: Mapping[str, Any], inputs: Mapping[str, Path], *, first_step_only: bool = False
) -> Ran:
    """Run a job whose output is the new folder ``<root>/<verb>``. Raises RuntimeError with what it told when it fails.

    ``first_step_only``: the times are those to the event that tells of the first step, and it is stopped there; Linux
    alone tells the processors' by then. What a user's own compiler cache holds does not count: it would make a first
    start a second one.
    """
    output, work = root / verb, root / f"{verb}-work"
    for folder in (output, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    job_file = root / f"{verb}.json"
    given = {name: str(path) for name, path in inputs.items()}
    Job(verb, given, str(output), str(work), dict(settings)).write(job_file)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")}
    environ["TORCHINDUCTOR_CACHE_DIR"] = str(work / "nothing")
    before = _ended_children_seconds()
    begin, seconds, processor_seconds = time.perf_counter(), 0.0, 0.0
    events, failure = [], None
    command = [sys.executable, "-m", "podsquad.runtimes.torch", str(job_file)]
    cwd = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=cwd
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            event = json.loads(line)
            events.append(event)
            if event["event"] == "failure" and not seconds:
                failure = event
            if event["event"] == "progress" and first_step_only and not seconds:
                seconds = time.perf_counter() - begin
                processor_seconds = _family_seconds(child.pid)
                child.send_signal(signal.SIGTERM)
    if failure is not None or (child.returncode and not seconds):
        raise RuntimeError(f"{verb} ended with exit code {child.returncode}: {failure}")
    if not seconds:
        seconds, processor_seconds = time.perf_counter() - begin, _ended_children_seconds() - before
    return Ran(seconds, processor_seconds, events)


def _ended_children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family_seconds(pid: int) -> float:
    """Return the processor seconds so far of a running process and of all below it, ended or not (Linux)."""
    return sum(family_ticks(pid).values()) / os.sysconf("SC_CLK_TCK")
