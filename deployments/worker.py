"""``python -m deployments.worker``: the process worker of this host, with a good end.

Prefect's own worker, when it gets SIGTERM, kills the flows' processes before any of their handlers runs, and their
runs stay "Running" for good. This one takes no more runs, sends SIGTERM to each flow's process, which lets the training
save its checkpoint and reports itself as crashed, waits for that, and only then ends; so do Ctrl-C and the end of its
terminal. Before it starts it brings the truth back about the runs that its predecessor left (sweep.py).

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

from deployments.home import (
    CHECKOUT,
    CHECKOUT_VARIABLE,
    POOL,
    WORKER_RECORD,
    run_program,
    use_server,
    why_silent,
    worker_name,
)
from deployments.survivors import Survivors
from deployments.sweep import flow_processes, sweep
from podsquad.errors import SettingsError
from podsquad.processes import ProcessRecord, read_record, write_record

GRACE_SECONDS = 90.0  # more than a runtime gets to save (runtimes/launch.py)
_REPORT_SECONDS = 15.0  # for Prefect to tell the server what became of a killed process
_LOOK_SECONDS = 0.2
_MIND_SECONDS = 5.0
_logger = logging.getLogger("podsquad.worker")


def work(pool: str, name: str, grace_seconds: float, survivors: Survivors, on_start: Callable[[], object]) -> None:
    """Take runs from the pool until SIGTERM or Ctrl-C, then end as the module says. ``survivors`` are minded too."""
    import anyio

    anyio.run(_work, pool, name, grace_seconds, survivors, on_start)


async def _work(
    pool: str, name: str, grace_seconds: float, survivors: Survivors, on_start: Callable[[], object]
) -> None:
    import anyio
    import anyio.to_thread

    from deployments.host_worker import HostWorker, unless_away

    worker = HostWorker(work_pool_name=pool, name=name, create_pool_if_not_found=False, grace_seconds=grace_seconds)
    runs = _Runs(worker, survivors)

    def told(message: str) -> None:
        _logger.info("%s", message)
        if message.endswith("started!"):  # it is known to the server, and asks it for runs
            on_start()

    async with anyio.create_task_group() as group:

        async def start() -> None:
            await worker.start(printer=told)
            group.cancel_scope.cancel()

        async def mind() -> None:
            while survivors:
                await unless_away("the former worker's runs", lambda: anyio.to_thread.run_sync(survivors.look))
                await anyio.sleep(_MIND_SECONDS)

        group.start_soon(start)
        group.start_soon(mind)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if worker.is_closed:
                    runs.signal(signal.SIGKILL)  # asked twice
                    continue
                worker.is_closed = True
                group.start_soon(_end, runs, number, grace_seconds, group.cancel_scope)


class _Runs:
    """The runs that this worker answers for: its own, and those that outlived the one before it."""

    def __init__(self, worker: Any, survivors: Survivors) -> None:
        self._worker, self._survivors = worker, survivors

    @property
    def num_open(self) -> int:
        return int(self._worker.num_open) + len(self._survivors.processes())

    def signal(self, number: int, *, but: Collection[int] = ()) -> set[int]:
        """Send the runs' processes a signal, and return those that got it."""
        signalled = set()
        surviving = self._survivors.processes().values()
        for pid, _ in flow_processes():
            try:
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                if pid not in but and (int(parent) == os.getpid() or pid in surviving):
                    os.kill(pid, number)
                    signalled.add(pid)
            except OSError:
                continue  # it has just ended
        return signalled


async def _end(runs: _Runs, number: int, grace_seconds: float, scope: Any) -> None:
    name = signal.Signals(number).name
    _logger.info("%s: no more runs are taken; %d go on", name, runs.num_open)
    # A terminal too reaches the worker alone: Prefect gives each flow's process a session of its own.
    if not await _ended(runs, grace_seconds, signal.SIGTERM):
        _logger.warning("%d runs did not end within %g seconds and are killed", runs.num_open, grace_seconds)
        runs.signal(signal.SIGKILL)
        await _ended(runs, _REPORT_SECONDS)
    scope.cancel()


async def _ended(runs: _Runs, seconds: float, number: int | None = None) -> bool:
    """Wait that long for the end of the runs. ``number``: the signal that each gets once, also one that just begins."""
    import anyio

    told: set[int] = set()
    with anyio.move_on_after(seconds):
        while runs.num_open:
            if number is not None:
                told |= runs.signal(number, but=told)
            await anyio.sleep(_LOOK_SECONDS)
    return not runs.num_open


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
        survivors = Survivors(options.name, sweep(options.name, options.pool))
        ready = functools.partial(write_record, WORKER_RECORD, myself, is_working=True)
        work(options.pool, options.name, options.grace_seconds, survivors, ready)
    finally:
        WORKER_RECORD.unlink(missing_ok=True)


if __name__ == "__main__":
    run_program(main)
