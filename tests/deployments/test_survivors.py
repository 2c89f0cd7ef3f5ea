"""What is told of a run that outlived its worker, against a server's client that keeps states alone.

With genuine processes and a genuine server: test_worker.py.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, PIPE, Popen
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import prefect
import pytest
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Pending, Running, State

from deployments.survivors import Survivors
from deployments.sweep import Survivor

RUN = uuid4()
# In the place of a flow's process, which it is by its arguments. It minds no signal, and tells which ones it got: it
# takes one after the other, where a handler of Python's could be overtaken by the next one's.
PROGRAM = """
import os, signal
minded = {signal.SIGTERM, signal.SIGURG}
signal.pthread_sigmask(signal.SIG_BLOCK, minded)
os.write(1, b"ready\\n")
while True:
    os.write(1, signal.Signals(signal.sigwait(minded)).name.encode() + b"\\n")
"""


class Server:
    """The run's state, and what was set; in the place of Prefect's client."""

    def __init__(self) -> None:
        self.state: State[Any] = Running()
        self.set: list[str] = []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be closed."""

    def read_flow_run(self, run_id: UUID) -> Any:
        return SimpleNamespace(id=run_id, name="the run", state=self.state)

    def read_task_runs(self, **chosen: Any) -> list[Any]:
        return []

    def set_flow_run_state(self, run_id: UUID, state: State[Any], *, force: bool) -> None:
        self.state = state
        self.set.append(state.name or "")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(prefect, "get_client", lambda sync_client: made)
    return made


@contextmanager
def attempt() -> Iterator[Popen[str]]:
    """A process of an attempt at the run."""
    command = [sys.executable, "-c", PROGRAM, "-m", "prefect.engine"]
    environ = {"PREFECT__FLOW_RUN_ID": str(RUN)}
    with Popen(command, env=environ, stdin=DEVNULL, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def signals(process: Popen[str]) -> list[str]:
    """The signals that it got since it was last asked; of several that wait the one of the lowest number goes first."""
    process.send_signal(signal.SIGURG)
    assert process.stdout is not None
    return list(iter(process.stdout.readline, "SIGURG\n"))


def survivors(process: Popen[str], server: Server) -> Survivors:
    """What the sweep makes of a run in the state that it has now."""
    return Survivors("host", {RUN: Survivor(process.pid, server.state.id)})


def cancelled(process: Popen[str], server: Server) -> Survivors:
    """A survivor to which a Cancel was passed on, once."""
    minded = survivors(process, server)
    server.state = Cancelling()
    minded.look()
    assert signals(process) == ["SIGTERM\n"]
    minded.look()
    assert signals(process) == []
    assert server.set == []
    process.kill()
    process.wait()
    return minded


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (Cancelling(), ["Cancelled"]),
        (Crashed(), ["Cancelled"]),  # its own word: it got SIGTERM
        (AwaitingRetry(), []),
        (Pending(), []),
        (Completed(), []),
    ],
    ids=lambda value: value.name if isinstance(value, State) else "",
)
def test_a_cancelled_run_is_shown_as_cancelled_unless_its_own_word_or_a_retry_stands(
    server: Server, state: State[Any], told: list[str]
) -> None:
    with attempt() as process:
        minded = cancelled(process, server)
        server.state = state
        minded.look()
    assert (server.set, bool(minded)) == (told, False)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (Running(), ["Crashed"]),
        (Cancelling(), ["Cancelled"]),
        (Crashed(), []),
        (AwaitingRetry(), []),
        (Pending(), []),
        (Completed(), []),
    ],
    ids=lambda value: value.name if isinstance(value, State) else "",
)
def test_the_end_of_a_killed_run_is_told(server: Server, state: State[Any], told: list[str]) -> None:
    with attempt() as process:
        minded = survivors(process, server)
    server.state = state
    minded.look()
    assert (server.set, bool(minded)) == (told, False)


def test_the_end_of_a_run_that_was_killed_before_it_ran_is_told(server: Server) -> None:
    server.state = Pending()
    with attempt() as process:
        minded = survivors(process, server)
    minded.look()
    assert (server.set, bool(minded)) == (["Crashed"], False)


def test_a_retry_that_runs_is_left_to_its_own_worker(server: Server) -> None:
    with attempt() as former, attempt() as again:
        minded = cancelled(former, server)
        server.state = Running()
        assert minded.processes() == {}
        minded.look()
        assert (server.set, bool(minded)) == ([], False)
        server.state = Cancelling()
        minded.look()
        assert signals(again) == []  # the worker that started it sends it one
