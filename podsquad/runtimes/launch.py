"""Run a job in a runtime: start the child process, pass on its events, stop it, and name what went wrong.

The child is a session and process group of its own. Its standard input is a pipe held by this process: when this
process dies, however it dies, the pipe ends and the child saves a checkpoint and ends (job.py). An exception here,
a Ctrl-C or a cancellation by Prefect among them, sends SIGTERM, waits for the checkpoint, and only then kills.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from podsquad.errors import InternalError, PodsquadError, TemporaryError, error_named
from podsquad.runtimes.job import Job

EventHandler = Callable[[Mapping[str, Any]], None]
STOP_GRACE_SECONDS = 60.0
_STDERR_LINES = 15
_LONGEST_EVENT_CHARS = 1_000_000
_END = None  # the event stream's end in the queue


def run_job(
    job: Job,
    runtime: str,
    *,
    python: Path | None = None,
    hang_seconds: float = 900.0,
    stop_grace_seconds: float = STOP_GRACE_SECONDS,
    on_event: EventHandler,
) -> None:
    """Run ``job`` in ``podsquad.runtimes.<runtime>`` and return when it ended well.

    ``on_event`` gets every event but ``failure``, in order, in this thread. ``python`` None: this interpreter. The
    job file and the child's standard error are kept in ``job.work`` until the next attempt.

    Raises the error that the child named; TemporaryError when it was killed by a signal or sent no event for
    ``hang_seconds`` (it is then stopped); InternalError when it broke the protocol.
    """
    work = Path(job.work)
    job_file, stderr_file = work / f"{job.verb}.job.json", work / f"{job.verb}.stderr.log"
    job.write(job_file)
    command = [str(python or sys.executable), "-m", f"podsquad.runtimes.{runtime}", str(job_file)]
    with stderr_file.open("wb") as stderr:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:
            raise InternalError(
                f"cannot start the runtime {runtime} with {command[0]}: {error}",
                do="set runtime.python to an interpreter that has the runtime's packages",
            ) from error
    failure: PodsquadError | None = None
    try:
        for event in _read_events(child, runtime, hang_seconds):
            if event["event"] == "failure":
                failure = _failure(event)
            else:
                on_event(event)
        # The stream ended; a child that neither writes nor ends hangs as much as one that says nothing.
        exit_code = _wait(child, hang_seconds, runtime)
    except BaseException:
        _stop(child, stop_grace_seconds)
        raise
    finally:
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
    if failure is not None:
        raise failure
    if exit_code != 0:
        raise _unexplained(exit_code, runtime, job.verb, stderr_file)


def _environment() -> dict[str, str]:
    # The child must find the podsquad that started it, whatever its working folder or interpreter.
    home = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{path}" if path else home, "PYTHONUNBUFFERED": "1"}


def _read_events(child: subprocess.Popen[bytes], runtime: str, hang_seconds: float) -> Iterator[Mapping[str, Any]]:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    assert child.stdout is not None
    threading.Thread(target=_pump, args=(child.stdout, lines), name="runtime-events", daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=hang_seconds)
        except queue.Empty:
            raise _hangs(runtime, hang_seconds) from None
        if line is _END:
            return
        try:
            event = json.loads(line)
            known = isinstance(event, dict) and isinstance(event["event"], str)
        except (ValueError, KeyError):
            known = False
        if not known:
            raise InternalError(
                f"the runtime {runtime} wrote something that is no event: {line[:200]!r}",
                why="its standard output belongs to the protocol alone",
                do="report this with the runtime's stderr.log",
            )
        yield event


def _pump(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    # readline with a bound: a child gone mad must not fill this process's memory.
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(_LONGEST_EVENT_CHARS):
            lines.put(line)
    lines.put(_END)


def _wait(child: subprocess.Popen[bytes], hang_seconds: float, runtime: str) -> int:
    try:
        return child.wait(timeout=hang_seconds)
    except subprocess.TimeoutExpired:
        raise _hangs(runtime, hang_seconds) from None


def _stop(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Ask the child to save and end, wait, and kill its whole group when it does not."""
    _signal_group(child, signal.SIGTERM)
    try:
        child.wait(timeout=grace_seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also after a second Ctrl-C; and for grandchildren, which may outlive the child.
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _failure(event: Mapping[str, Any]) -> PodsquadError:
    kind = error_named(str(event.get("error", "")))
    what, why, do = (str(event.get(part, "")) for part in ("what", "why", "do"))
    return kind(what or "the runtime failed", why=why, do=do)


def _hangs(runtime: str, hang_seconds: float) -> TemporaryError:
    return TemporaryError(
        f"the runtime {runtime} sent no sign of life for {hang_seconds:g} seconds and was stopped",
        why="an accelerator or a library hangs, or runtime.hang_seconds is too short for one step",
        do="run the same again: training goes on from its last checkpoint",
    )


def _unexplained(exit_code: int, runtime: str, verb: str, stderr_file: Path) -> PodsquadError:
    said = _tail(stderr_file)
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in signal.valid_signals() else str(-exit_code)
        why = "often the kernel's out-of-memory killer" if name == "SIGKILL" else f"signal {name}"
        return TemporaryError(
            f"the runtime {runtime} was killed by {name} while it had to {verb}",
            why=why + (f"; its last words: {said}" if said else ""),
            do="run the same again: training goes on from its last checkpoint; for want of memory lower "
            "training.micro_batch_tokens",
        )
    return InternalError(
        f"the runtime {runtime} ended with exit code {exit_code} and no reason while it had to {verb}",
        why=said or "it wrote nothing to its standard error",
        do=f"look at {stderr_file}",
    )


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-_STDERR_LINES:])
