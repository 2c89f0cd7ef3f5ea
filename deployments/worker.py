"""``python -m deployments.worker``: the process worker of this host, with a good end.

Prefect's own worker, when it gets SIGTERM, kills the flows' processes before any of their handlers runs, and their
runs stay "Running" for good. This one takes no more runs, sends SIGTERM to each flow's process, which lets the training
save its checkpoint and reports itself as crashed, waits for that, and only then ends. Before it starts it brings the
truth back about the runs that its predecessor left (sweep.py).

Under systemd set KillMode=mixed, so that SIGTERM comes from here alone, and TimeoutStopSec above the grace.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from deployments.home import CHECKOUT, CHECKOUT_VARIABLE, POOL, WORKER_RECORD, run_program, use_server, worker_name
from deployments.sweep import flow_processes, sweep
from podsquad.errors import SettingsError
from podsquad.processes import ProcessRecord, read_record, write_record

GRACE_SECONDS = 90.0  # more than a runtime gets to save (runtimes/launch.py)
_REPORT_SECONDS = 15.0  # for Prefect to tell the server what became of a killed process
_LOOK_SECONDS = 0.2
_logger = logging.getLogger("podsquad.worker")


def work(pool: str, name: str, grace_seconds: float, on_start: Callable[[], object]) -> None:
    """Take runs from the pool until SIGTERM or Ctrl-C, then end as the module says."""
    import anyio

    anyio.run(_work, pool, name, grace_seconds, on_start)


async def _work(pool: str, name: str, grace_seconds: float, on_start: Callable[[], object]) -> None:
    import anyio

    from deployments.host_worker import HostWorker

    worker = HostWorker(work_pool_name=pool, name=name, create_pool_if_not_found=False, grace_seconds=grace_seconds)

    def told(message: str) -> None:
        _logger.info("%s", message)
        if message.endswith("started!"):  # it is known to the server, and asks it for runs
            on_start()

    async with anyio.create_task_group() as group:

        async def start() -> None:
            await worker.start(printer=told)
            group.cancel_scope.cancel()

        group.start_soon(start)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if worker.is_closed:
                    _signal_flows(signal.SIGKILL)  # asked twice
                    continue
                worker.is_closed = True
                group.start_soon(_end, worker, number, grace_seconds, group.cancel_scope)


async def _end(worker: Any, number: int, grace_seconds: float, scope: Any) -> None:
    name = signal.Signals(number).name
    _logger.info("%s: no more runs are taken; %d go on", name, worker.num_open)
    # A terminal's Ctrl-C has reached the flows' processes by itself; a second signal would disturb their saving.
    if not await _ended(worker, grace_seconds, signal.SIGTERM if number == signal.SIGTERM else None):
        _logger.warning("%d runs did not end within %g seconds and are killed", worker.num_open, grace_seconds)
        _signal_flows(signal.SIGKILL)
        await _ended(worker, _REPORT_SECONDS)
    scope.cancel()


async def _ended(worker: Any, seconds: float, number: int | None = None) -> bool:
    """Wait that long for the end of the runs. ``number``: the signal that each gets once, also one that just begins."""
    import anyio

    told: set[int] = set()
    with anyio.move_on_after(seconds):
        while worker.num_open:
            if number is not None:
                told |= _signal_flows(number, but=told)
            await anyio.sleep(_LOOK_SECONDS)
    return not worker.num_open


def _signal_flows(number: int, *, but: Collection[int] = ()) -> set[int]:
    signalled = set()
    for pid, _ in flow_processes():
        try:
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and pid not in but:
                os.kill(pid, number)
                signalled.add(pid)
        except OSError:
            continue  # it has just ended
    return signalled


def why_silent(address: str) -> str:
    """Return why the server's API at that address does not answer; empty when it does."""
    import httpx

    try:
        answer = httpx.get(f"{address}/health", timeout=5.0)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return "" if answer.is_success else f"it answers {answer.status_code}"


def _wait_for_server(address: str) -> None:
    said = 0.0
    while reason := why_silent(address):
        if time.monotonic() >= said:
            _logger.warning("the server at %s cannot be reached (%s); trying again", address, reason)
            said = time.monotonic() + 60.0
        time.sleep(1.0)


def main() -> None:
    """Read the options, sweep, and work."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__.splitlines()[0])
    parser.add_argument("--pool", default=POOL, help="the work pool to take runs from (%(default)s)")
    parser.add_argument("--name", default=worker_name(), help="the worker's name (this host's: %(default)s)")
    parser.add_argument("--grace-seconds", type=float, default=GRACE_SECONDS, help="for runs to save (%(default)s)")
    options = parser.parse_args()
    os.chdir(CHECKOUT)
    os.environ[CHECKOUT_VARIABLE] = str(CHECKOUT)  # the deployments' paths, and the store's, are relative to it
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO")
    address = use_server()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if (other := read_record(WORKER_RECORD)) and other[0].is_alive() and other[0].pid != os.getpid():
        raise SettingsError(
            f"a worker of this checkout runs already (process {other[0].pid})",
            why="two would take each other's runs for dead",
            do="stop it first, with: make down",
        )
    WORKER_RECORD.parent.mkdir(parents=True, exist_ok=True)
    myself = ProcessRecord.of(os.getpid())
    write_record(WORKER_RECORD, myself, is_working=False)
    try:
        _wait_for_server(address)
        sweep(options.name, options.pool)
        ready = functools.partial(write_record, WORKER_RECORD, myself, is_working=True)
        work(options.pool, options.name, options.grace_seconds, ready)
    finally:
        WORKER_RECORD.unlink(missing_ok=True)


if __name__ == "__main__":
    run_program(main)
