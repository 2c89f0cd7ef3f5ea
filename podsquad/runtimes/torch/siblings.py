"""The other processes of a training on several devices: started, watched and ended by the first one.

As torchrun, but inside the runtime's own process group: whoever ends that ends them all. Each holds the read end of a
pipe from the first: when that one is gone, however it went, they end. When one of them is gone, the first says why and
ends; training goes on from the last checkpoint. A stop that is asked of any of them reaches all.

    python -m podsquad.runtimes.torch.siblings job.json     one of them; rank and port come by the environment
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from podsquad.errors import PodsquadError, StoppedError, TemporaryError, error_named
from podsquad.runtimes.job import Events, Job, StopRequest, explain

JOB_FILE = "ranks.job.json"
_MODULE = "podsquad.runtimes.torch.siblings"
_RANK, _PORT = "PODSQUAD_RANK", "PODSQUAD_RANKS_PORT"
_LOOK_SECONDS = 0.1
_END_SECONDS = 60.0  # between the end of the first rank's training and that of the others


class Siblings:
    """Ranks 1 to ``size`` - 1 of a training, in processes of their own. A context manager: none outlives its block."""

    def __init__(self, job: Job, size: int, port: int, events: Events, stop: StopRequest) -> None:
        """Start them. ``port``: where the ranks meet."""
        self._events, self._stop = events, stop
        self._is_over = threading.Event()
        self._lost: PodsquadError | None = None
        job_file = Path(job.work) / JOB_FILE
        job.write(job_file)
        self._children = [self._start(job_file, rank, port) for rank in range(1, size)]
        self._threads = [threading.Thread(target=self._pass_on_stop, daemon=True)]
        self._threads += [
            threading.Thread(target=self._watch, args=(rank, child), daemon=True)
            for rank, child in enumerate(self._children, start=1)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Siblings:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait for their end, or end them where the block failed."""
        went_well = error is None or isinstance(error, StoppedError)
        if not isinstance(error, PodsquadError) and error is not None:
            # A library's complaint about a connection that broke: the watcher knows which rank is gone, and ends us.
            self._is_over.wait(timeout=2.0)
        self._is_over.set()
        deadline = time.monotonic() + (_END_SECONDS if went_well else 0.0)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=max(deadline - time.monotonic(), 0.0))
            if child.poll() is None:
                child.kill()
            child.wait()
        for thread in self._threads:
            thread.join()
        for child in self._children:
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()

    def _start(self, job_file: Path, rank: int, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, _RANK: str(rank), _PORT: str(port)},
        )

    def _pass_on_stop(self) -> None:
        while not self._is_over.wait(timeout=_LOOK_SECONDS):
            if self._stop:
                for child in self._children:
                    child.send_signal(signal.SIGTERM)
                return

    def _watch(self, rank: int, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        said = child.stdout.read()
        code = child.wait()
        if code == 0 or self._is_over.is_set():
            return
        error = _last_words(said) or TemporaryError(
            f"rank {rank} of the training ended with {_ending(code)}",
            why="each rank holds a part of every step: without it none can go on",
            do="run the same again: training goes on from its last checkpoint",
        )
        self._is_over.set()
        self._events.failure(error)
        # The main thread may wait for that rank inside a library, for ever. The pipes end with this process.
        os._exit(error.exit_code)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _last_words(said: bytes) -> PodsquadError | None:
    """Return the error that a rank told before it ended; None where it told none, as a killed one."""
    for line in said.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            return error_named(event["error"])(event["what"], why=event["why"], do=event["do"])
    return None


class _FailuresOnly(Events):
    """Events of a rank that is not the first: the first reports for all."""

    def _emit(self, event: Any) -> None:
        if event["event"] == "failure":
            super()._emit(event)


def run_sibling(job_file: str) -> int:
    """Train as the rank that the environment names; return the process's exit code, 0 also after an agreed stop."""
    from podsquad.runtimes.torch.train import train_as_sibling

    told = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not be taken for an event
    stop = StopRequest()
    signal.signal(signal.SIGTERM, lambda *_: stop.set("SIGTERM received"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    with os.fdopen(told, "w", encoding="utf-8", errors="backslashreplace") as stream:
        events = _FailuresOnly(stream)
        try:
            train_as_sibling(Job.read(job_file), events, stop, int(os.environ[_RANK]), int(os.environ[_PORT]))
        except StoppedError:
            pass
        except Exception as error:
            failure = explain(error)
            events.failure(failure)
            return failure.exit_code
    return 0


def _end_with_the_first() -> None:
    while os.read(0, 4096):
        pass
    os._exit(StoppedError.exit_code)


if __name__ == "__main__":
    sys.exit(run_sibling(sys.argv[1]))
