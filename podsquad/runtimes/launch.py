"""Run a job in a runtime: start the child process, pass on its events, stop it, and name what went wrong.

The child is a session and process group of its own. Its standard input is a pipe held by this process: when this
process dies, however it dies, the pipe ends and the child saves a checkpoint and ends (job.py). An exception here,
a Ctrl-C or a cancellation by Prefect among them, sends SIGTERM, waits for the checkpoint, and only then kills.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from podsquad.errors import (
    NO_ROOM,
    TOKEN_VARIABLES,
    InternalError,
    PodsquadError,
    SettingsError,
    TemporaryError,
    error_named,
    from_os_error,
    hide_secrets,
)
from podsquad.runtimes.job import FIGURES, Job

EventHandler = Callable[[Mapping[str, Any]], None]
STOP_GRACE_SECONDS = 60.0
_STDERR_LINES = 15
_LONGEST_EVENT_BYTES = 1_000_000  # a child gone mad must not fill this process's memory
_LARGEST_COUNT = 2**63  # of steps; JSON's numbers have no bound
_READ_BYTES = 2**16
_LOOK_SECONDS = 0.5  # how often a silent child is looked at
_HOME = ".podsquad-home"  # in the work folder: holds a link to this package and nothing else
_MARK = re.compile(rb"^\[\d+,\d+\](<\w+>)?:? ?")  # mpirun's: job, rank, stream


def run_job(
    job: Job,
    runtime: str,
    *,
    python: Path | None = None,
    launcher: Sequence[str] = (),
    hang_seconds: float = 900.0,
    stop_grace_seconds: float = STOP_GRACE_SECONDS,
    inherited: tuple[int, ...] = (),
    on_start: Callable[[int], object] = lambda pid: None,
    on_event: EventHandler,
) -> None:
    """Run ``job`` in ``podsquad.runtimes.<runtime>`` and return when it ended well.

    ``on_event`` gets every event but ``failure``, in order, in this thread, after ``on_start`` got the child's process
    id. ``inherited`` are descriptors that the child keeps open while it lives. ``python`` None: this interpreter.
    ``launcher`` is a command that starts the program, as poprun does on several hosts; it may mark the lines that it
    passes on with ``[1,0]<stdout>:`` and add lines of its own, which become events of the kind log. The job file and
    the child's standard error are kept in ``job.work`` until the next attempt. When this returns or raises, the child
    and all of its process group are gone, and no token is in what is kept, nor was one in an event's text.

    Raises the error that the child named; TemporaryError when it was killed by a signal, sent no event for
    ``hang_seconds`` (it is then stopped), or the host had no room for it; InternalError when it broke the protocol;
    SettingsError when ``python`` cannot be started. Raises OSError as the system does when ``job.work`` cannot be
    written.
    """
    work = Path(job.work)
    job_file, stderr_file = work / f"{job.verb}.job.json", work / f"{job.verb}.stderr.log"
    job.write(job_file)
    command = [*launcher, str(python or sys.executable), "-m", f"podsquad.runtimes.{runtime}", str(job_file)]
    environment = _environment(work, job.verb)
    with stderr_file.open("wb") as stderr:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                start_new_session=True,
                pass_fds=inherited,
                env=environment,
            )
        except OSError as error:
            if error.errno in NO_ROOM:
                raise from_os_error(error, f"starting the runtime {runtime} with {command[0]}") from error
            raise SettingsError(
                f"cannot start the runtime {runtime} with {command[0]}: {error.strerror or error}",
                why="there is no such program, or it may not be executed",
                do="put it on the PATH; the Poplar SDK holds it"
                if launcher
                else "set runtime.python to an interpreter that has the runtime's packages",
            ) from error
    failure: PodsquadError | None = None
    exit_code = 0
    try:
        on_start(child.pid)
        for event in _read_events(child, runtime, hang_seconds, is_launched=bool(launcher)):
            if event["event"] == "failure":
                failure = _failure(event)
                break
            on_event(event)
        if failure is None:
            exit_code = _wait(child, hang_seconds, runtime)
        else:  # all is said; what it still does can only delay
            _let_end(child, stop_grace_seconds)
    except BaseException:
        child.send_signal(signal.SIGTERM)  # to it alone: what it started must not break under it while it saves
        _let_end(child, stop_grace_seconds)
        raise
    finally:
        # Also after a second Ctrl-C; and for what the child started, which may outlive it.
        _kill_group(child)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        _hide_secrets_in(stderr_file)
    if failure is not None:
        raise failure
    if exit_code != 0:
        raise _unexplained(exit_code, runtime, job.verb, stderr_file)


def _hide_secrets_in(path: Path) -> None:
    """Rewrite what the child said on standard error when a token is in it: it has one in its environment."""
    with contextlib.suppress(OSError):  # it went with the store, which has an error of its own
        said = path.read_bytes().decode("utf-8", "surrogateescape")
        if (shown := hide_secrets(said)) != said:
            path.write_bytes(shown.encode("utf-8", "surrogateescape"))


def _shown(text: str) -> str:
    """Return a child's words as a log can take them: without tokens, and without what is no text."""
    return hide_secrets(text).encode("utf-8", "backslashreplace").decode()


def _shown_in(value: Any) -> Any:
    """Return a value of JSON whose texts are as ``_shown`` has them."""
    if isinstance(value, dict):
        return {_shown(name): _shown_in(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown_in(part) for part in value]
    return _shown(value) if isinstance(value, str) else value


def _environment(work: Path, verb: str) -> dict[str, str]:
    # The child must find the podsquad that started it, whatever its working folder or interpreter, and nothing else
    # that lies beside it: where podsquad is installed, those are the libraries of this interpreter, not of the child's.
    home = work / _HOME
    home.mkdir(exist_ok=True)
    link = home / "podsquad"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(__file__).resolve().parents[1], target_is_directory=True)
    # What the caller has there stays: the Poplar SDK's own script puts poptorch on it.
    path = os.environ.get("PYTHONPATH")
    # A base model may come from the Hub; a prediction reads folders alone, and its weights may be anybody's.
    withheld = TOKEN_VARIABLES if verb == "predict" else ()
    environ = {name: value for name, value in os.environ.items() if name not in withheld}
    return {**environ, "PYTHONPATH": f"{home}{os.pathsep}{path}" if path else str(home), "PYTHONUNBUFFERED": "1"}


def _read_events(
    child: subprocess.Popen[bytes], runtime: str, hang_seconds: float, *, is_launched: bool
) -> Iterator[Mapping[str, Any]]:
    """Yield events until the stream ends. A last line without its end was cut short by a kill: it is left out."""
    begun = b""
    last_sign = time.monotonic()
    while True:
        left = last_sign + hang_seconds - time.monotonic()
        if left <= 0:
            raise _hangs(runtime, hang_seconds)
        # What it started may hold the stream open after its end: what is there by then is all.
        has_ended = child.poll() is not None
        chunk = _read(child, 0 if has_ended else min(left, _LOOK_SECONDS))
        if chunk == b"" or (chunk is None and has_ended):
            return
        *lines, begun = (begun + (chunk or b"")).split(b"\n")
        for line in lines:
            yield _event(line, runtime) if not is_launched else _passed_on(line, runtime)
        if len(begun) > _LONGEST_EVENT_BYTES:
            raise _no_event(begun, runtime)
        if lines:  # after the yield: the time that the events' handler takes is not the child's
            last_sign = time.monotonic()


def _read(child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """Return some of what the child wrote, nothing at the stream's end, None when nothing came within the time."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        return os.read(child.stdout.fileno(), _READ_BYTES) if selector.select(seconds) else None


def _event(line: bytes, runtime: str) -> Mapping[str, Any]:
    try:
        event = _shown_in(json.loads(line))
    except (ValueError, RecursionError):  # nested too deep for the one or the other
        raise _no_event(line, runtime) from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str) or not _is_complete(event):
        raise _no_event(line, runtime)
    return event


def _is_complete(event: Mapping[str, Any]) -> bool:
    """Tell whether an event has the numbers of its kind, each one that a float can hold."""
    kind = event["event"]
    counts = {"progress": ("step", "total_steps"), "checkpoint": ("step",)}.get(kind, ())
    figures = [event[name] for name in FIGURES if name in event] if kind == "progress" else []
    return all(type(event.get(name)) is int and 0 <= event[name] < _LARGEST_COUNT for name in counts) and all(
        isinstance(each, float) or (isinstance(each, int) and abs(each) < _LARGEST_COUNT) for each in figures
    )


def _passed_on(line: bytes, runtime: str) -> Mapping[str, Any]:
    """Read a line that came by way of a launcher, which marks lines and has something to say itself."""
    content = _MARK.sub(b"", line)
    if content.startswith(b"{"):
        return _event(content, runtime)
    return {"event": "log", "level": "debug", "message": _shown(line.decode("utf-8", "replace"))}


def _no_event(line: bytes, runtime: str) -> InternalError:
    return InternalError(
        f"the runtime {runtime} wrote something that is no event: {line[:200]!r}",
        why="its standard output belongs to the protocol alone",
        do="report this with the runtime's stderr.log",
    )


def _wait(child: subprocess.Popen[bytes], hang_seconds: float, runtime: str) -> int:
    # The stream ended; a child that neither writes nor ends hangs as much as one that says nothing.
    try:
        return child.wait(timeout=hang_seconds)
    except subprocess.TimeoutExpired:
        raise _hangs(runtime, hang_seconds) from None


def _let_end(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for the child's end, but not longer than that. It is read from: a full pipe would keep it from ending."""
    deadline = time.monotonic() + seconds
    while child.poll() is None and (left := deadline - time.monotonic()) > 0:
        if _read(child, min(left, _LOOK_SECONDS)) == b"":
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=left)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


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
