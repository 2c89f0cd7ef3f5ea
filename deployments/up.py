"""``make up`` and ``make down``: server, deployments, automations and worker of this checkout, on one machine.

    python -m deployments.up [--port 4200] [--webhook NAME]
    python -m deployments.up --down

What runs already is left as it is, so it can be called again at any time: after an upgrade, or when a part has died.
Each started process is recorded with its number and its birth; only that very process is ever stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deployments.home import (
    CHECKOUT,
    LOGS,
    POOL,
    SERVER_RECORD,
    STATE,
    WORKER_RECORD,
    own_environment,
    run_program,
    why_silent,
)
from deployments.worker import GRACE_SECONDS
from podsquad.errors import SettingsError, TemporaryError
from podsquad.processes import ProcessRecord, read_record, write_record

HOST = "127.0.0.1"
PORT = 4200  # Prefect's own default
_START_SECONDS = 180.0  # the first start makes the database
_LOOK_SECONDS = 0.2


def up(port: int | None, webhook: str | None) -> str:
    """Start what does not run yet and return the UI's address. ``port`` None: where it runs, else 4200."""
    address = _ensure_server(port)
    environ = own_environment() | {"PREFECT_API_URL": f"{address}/api"}
    os.environ.clear()
    os.environ.update(environ)
    # Only now: Prefect reads its settings once, and these two import it.
    from deployments import automations, register

    print(f"deployments  {', '.join(register.register())}")
    automations.register(webhook)
    _ensure_worker()
    return address


def down() -> None:
    """Stop the worker, which lets its runs save, and then the server."""
    _stop("worker", WORKER_RECORD, GRACE_SECONDS + 30.0)
    _stop("server", SERVER_RECORD, 30.0)


def _ensure_server(port: int | None) -> str:
    found = read_record(SERVER_RECORD)
    if found and found[0].is_alive():
        address = str(found[1]["api_url"]).removesuffix("/api")
        if port is not None and address != f"http://{HOST}:{port}":
            raise SettingsError(
                f"the server of this checkout runs at {address}, not on port {port}",
                why="a checkout has one server",
                do="stop it first with: make down",
            )
        _await_server(found[0], address)
        print(f"server       runs already (process {found[0].pid})")
        return address
    port = PORT if port is None else port
    _refuse_taken(port)
    address = f"http://{HOST}:{port}"
    environ = own_environment() | {"PREFECT_UI_API_URL": f"{address}/api", "PREFECT_UI_URL": address}
    environ.pop("PREFECT_API_URL", None)
    command = ["prefect", "--no-prompt", "server", "start", "--host", HOST, "--port", str(port)]
    record = _start("server", command, environ)
    write_record(SERVER_RECORD, record, api_url=f"{address}/api")
    _await_server(record, address)
    print(f"server       started (process {record.pid})")
    return address


def _await_server(record: ProcessRecord, address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while why_silent(f"{address}/api"):
        if not record.is_alive():
            raise _died("server")
        if time.monotonic() > deadline:
            raise TemporaryError(
                f"the server at {address} does not answer after {_START_SECONDS:g} seconds",
                why="the machine is busy, or it hangs",
                do=f"look at {LOGS / 'server.log'}; make down, then make up",
            )
        time.sleep(_LOOK_SECONDS)


def _ensure_worker() -> None:
    found = read_record(WORKER_RECORD)
    if found and found[0].is_alive():
        print(f"worker       runs already (process {found[0].pid})")
        return
    record = _start("worker", ["deployments.worker"], dict(os.environ))
    deadline = time.monotonic() + _START_SECONDS
    while not _is_working(record):
        if not record.is_alive():
            raise _died("worker")
        if time.monotonic() > deadline:
            raise TemporaryError(
                "the worker does not report to the server",
                why="the machine is busy, or it hangs",
                do=f"look at {LOGS / 'worker.log'}; make down, then make up",
            )
        time.sleep(_LOOK_SECONDS)
    print(f"worker       started (process {record.pid}) for the work pool {POOL}")


def _is_working(record: ProcessRecord) -> bool:
    found = read_record(WORKER_RECORD)
    return found is not None and found[0] == record and bool(found[1].get("is_working"))


def _start(what: str, module: list[str], environ: Mapping[str, str]) -> ProcessRecord:
    """Start ``python -m module...`` in a session of its own, so that this terminal's Ctrl-C does not reach it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{what}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=CHECKOUT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return ProcessRecord.of(process.pid)


def _died(what: str) -> TemporaryError:
    log = LOGS / f"{what}.log"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return TemporaryError(
        f"the {what} ended at once", why="its last words: " + "\n".join(lines[-5:]), do=f"look at {log}"
    )


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SettingsError(
                f"port {port} of {HOST} cannot be used: {error.strerror}",
                why="another program listens there, perhaps another checkout's server",
                do="choose another one: make up PORT=4201",
            ) from error


def _stop(what: str, record_file: Path, seconds: float) -> None:
    found = read_record(record_file)
    if found is None or not found[0].is_alive():
        print(f"{what:<12} does not run")
    else:
        process = found[0]
        _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if process.is_alive():
            _signal(process, signal.SIGKILL)
        print(f"{what:<12} stopped (process {process.pid})")
    record_file.unlink(missing_ok=True)


def _signal(process: ProcessRecord, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    STATE.mkdir(exist_ok=True)
    with (STATE / "up.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> None:
    """Read the options, start or stop, and say where the UI is."""
    parser = argparse.ArgumentParser(prog="python -m deployments.up", description=__doc__.splitlines()[0])
    parser.add_argument("--down", action="store_true", help="stop what was started")
    parser.add_argument("--port", type=_port, help=f"the server's port ({PORT})")
    parser.add_argument("--webhook", metavar="NAME", help="a Webhook block that gets a message when a run goes wrong")
    options: Any = parser.parse_args(arguments)
    with _one_at_a_time():
        if options.down:
            down()
            return
        address = up(options.port, options.webhook or None)
    print(f"\nthe UI: {address}   (logs: {LOGS})")


def _port(text: str) -> int | None:
    if not text:  # make up PORT=
        return None
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    run_program(main)
