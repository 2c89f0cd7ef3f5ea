"""The protocol between a stage and a runtime: a job file in, events out, an exit code at the end.

A runtime is started as ``<python> -m podsquad.runtimes.<name> job.json``. It writes events, one JSON object a line,
to its standard output; whatever libraries print there goes to standard error instead. It ends with the exit code of
``podsquad.errors`` that fits, after a ``failure`` event that names the error. SIGTERM, and the end of its standard
input (its parent died), mean: save a checkpoint and end with 75. An orphan that has not ended by itself within a minute
is killed by the kernel, and the device is free.

Standard library only; runs on Python 3.8.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Mapping, Optional, Union

from podsquad.errors import DataError, InternalError, PodsquadError, StoppedError, from_os_error, os_error_of
from podsquad.store.durable import parse_json, write_json

VERBS = ("compile", "train", "predict")
FIGURES = ("loss", "learning_rate", "samples_per_second", "seconds_left")  # that a progress may bring
ORPHAN_SECONDS = 60  # for one whose parent is gone to save and end: as much as a parent gives (launch.py)


@dataclass(frozen=True)
class Job:
    """One order to a runtime.

    ``inputs`` names folders to read; ``output`` is an empty folder to fill; ``work`` is a folder that outlives a
    failed attempt (checkpoints); ``settings`` holds the sections of podsquad's settings that the verb reads.
    """

    verb: str
    inputs: Dict[str, str]
    output: str
    work: str
    settings: Dict[str, Any] = field(default_factory=dict)

    def write(self, path: Union[str, Path]) -> None:
        """Write the job file durably."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Union[str, Path]) -> "Job":
        """Read a job file. Raises DataError when it is not one."""
        try:
            raw = parse_json(Path(path).read_text(encoding="utf-8"))
            job = cls(**raw)
            job._check()
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                "cannot read the job file {}: {}".format(path, error),
                why="it is not there, was cut short, or is not what a stage writes",
                do="let `podsquad run` write it: a runtime is started by a stage",
            ) from error
        if job.verb not in VERBS:
            raise DataError(
                "unknown verb {!r} in the job file {}".format(job.verb, path),
                why="a runtime has the verbs " + ", ".join(VERBS),
                do="let `podsquad run` write it: a runtime is started by a stage",
            )
        return job

    def _check(self) -> None:
        texts = [self.verb, self.output, self.work]
        if not isinstance(self.inputs, dict) or not isinstance(self.settings, dict):
            raise TypeError("its inputs or settings are no mapping")
        if not all(isinstance(text, str) for text in texts + list(self.inputs.values())):
            raise TypeError("its verb or one of its folders is no text")


class Events:
    """Write events to the stage that started this process, one JSON object a line, thread-safe.

    Kinds and their fields: ``log`` (level, message); ``progress`` (step, total_steps, and what is known of loss,
    learning_rate, samples_per_second, seconds_left); ``checkpoint`` (step); ``decision`` (name, value, reason);
    ``failure`` (error, what, why, do). ``progress`` is thinned to one per ``progress_interval_seconds``; the first and
    the last step always pass. When nobody listens any more events go nowhere: the work goes on to its checkpoint.
    """

    def __init__(self, stream: IO[str], progress_interval_seconds: float = 0.5) -> None:
        self._stream = stream
        self._interval_seconds = progress_interval_seconds
        self._next_progress = 0.0
        self._lock = threading.Lock()

    def _emit(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except BrokenPipeError:  # the parent is gone; standard input's end asks for the stop
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def log(self, message: str, level: str = "info") -> None:
        """Send a line for the log."""
        self._emit({"event": "log", "level": level, "message": message})

    def progress(self, step: int, total_steps: int, **figures: Optional[float]) -> None:
        """Send how far the work is, with figures that are known."""
        now = time.monotonic()
        if now < self._next_progress and 1 < step < total_steps:
            return
        self._next_progress = now + self._interval_seconds
        known = {name: value for name, value in figures.items() if value is not None}
        self._emit({"event": "progress", "step": step, "total_steps": total_steps, **known})

    def checkpoint(self, step: int) -> None:
        """Say that a checkpoint of that step is complete on the disk."""
        self._emit({"event": "checkpoint", "step": step})

    def decision(self, name: str, value: Any, reason: str) -> None:
        """Say what was decided without being told, and why."""
        self._emit({"event": "decision", "name": name, "value": value, "reason": reason})

    def failure(self, error: PodsquadError) -> None:
        """Say why the process is about to end with an error's exit code."""
        kind = type(error).__name__
        self._emit({"event": "failure", "error": kind, "what": error.what, "why": error.why, "do": error.do})


class StopRequest:
    """Becomes true when the process should save what it has and end with 75."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self, reason: str) -> None:
        """Ask for the stop; the first reason stays."""
        self.reason = self.reason or reason
        self._event.set()

    def raise_if_set(self, saved: str) -> None:
        """Raise StoppedError when a stop was asked for; ``saved`` says what was kept."""
        if self:
            raise StoppedError(
                "{}; {}".format(self.reason, saved),
                why="a person, a scheduler, or the end of the process that started this one asked for it",
                do="run the same again: it goes on from there",
            )


Verb = Callable[[Job, Events, StopRequest], None]


def runtime_main(verbs: Mapping[str, Verb], arguments: List[str]) -> int:
    """Run one job and return the process's exit code. Never raises.

    ``arguments`` are the job file's path alone. Errors of ``podsquad.errors`` end with their own exit code and a
    failure event; any other exception is an InternalError whose traceback goes to standard error.
    """
    events = Events(_claim_standard_output())
    stop = StopRequest()
    try:
        if len(arguments) != 1:
            raise InternalError(
                "a runtime takes one argument, the job file; got {}".format(len(arguments)),
                why="it was started by hand, or by another version of podsquad",
                do="use `podsquad run`: a stage writes the job file and starts the runtime",
            )
        signal.signal(signal.SIGTERM, lambda *_: stop.set("SIGTERM received"))
        # Ctrl-C reaches the whole terminal; the stage answers it by sending SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _watch_parent(stop)
        job = Job.read(arguments[0])
        verbs[job.verb](job, events, stop)
        return 0
    except Exception as error:
        failure = explain(error)
        events.failure(failure)
        if failure is not error:
            # After the event: on a full disk standard error, a file beside the checkpoints, takes nothing either.
            with contextlib.suppress(OSError):
                traceback.print_exc()
                sys.stderr.flush()
        return failure.exit_code


def explain(error: Exception) -> PodsquadError:
    """Return the error that a runtime ends with for an exception of any kind."""
    if isinstance(error, PodsquadError):
        return error
    if refusal := os_error_of(error):
        return from_os_error(refusal, "running the job")
    if isinstance(error, MemoryError):
        return InternalError(
            "out of memory",
            why="the model, its gradients and one micro-batch need more than this machine has left",
            do="lower training.micro_batch_tokens",
        )
    return InternalError(
        "{}: {}".format(type(error).__name__, error),
        why="a bug, or a library's refusal",
        do="report this with the traceback in the runtime's stderr.log",
    )


def _claim_standard_output() -> IO[str]:
    """Keep the real standard output for events and send everything else that is printed to standard error."""
    events_handle = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # A name of a file may be no text: its odd bytes, lone surrogates here, go out as JSON's own escapes.
    return os.fdopen(events_handle, "w", encoding="utf-8", errors="backslashreplace")


def _watch_parent(stop: StopRequest) -> None:
    """Ask for a stop when standard input ends: its other end is held by the parent and closes with it."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        stop.set("the process that started this one is gone")
        # Nobody is left to kill one that hangs. The kernel's alarm does, wherever the main thread is.
        signal.alarm(ORPHAN_SECONDS)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
