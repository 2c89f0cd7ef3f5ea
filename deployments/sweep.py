"""Bring the truth back after a worker's end: runs that are shown as going on here, and whose process is gone.

A process worker that is killed, or whose host is switched off, cannot say what becomes of its runs. Prefect shows them
as Running for good. When the worker starts again, every run that its predecessor started is compared with the
processes of this host: a flow's process carries its run's id in its environment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

_RUN_ID = b"PREFECT__FLOW_RUN_ID="
_ENGINE = (b"prefect.engine", b"prefect.flow_engine", b"prefect.runner._workspace_supervisor", b"flow-run\0execute")
UNFINISHED = ("PENDING", "RUNNING", "CANCELLING")  # the types of states in which a run has a process, or soon will
_LABEL = "prefect.worker.name"
_UNLABELLED_FOR = timedelta(seconds=60)  # a worker labels a run within a second of taking it
_logger = logging.getLogger("podsquad.sweep")


@dataclass(frozen=True)
class Survivor:
    """The process of a run that outlived its worker, and the run's state when it was found."""

    pid: int
    state_id: UUID


def flow_processes(proc: Path = Path("/proc")) -> Iterator[tuple[int, str]]:
    """Yield process id and flow run id of the flow processes of this host that this user may look at."""
    for folder in proc.glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # gone meanwhile, or another user's
        # A runtime, and what a stage starts, inherits the variable: only Prefect's own program is the flow's process.
        if any(name in command for name in _ENGINE):
            yield from ((int(folder.name), v[len(_RUN_ID) :].decode()) for v in variables if v.startswith(_RUN_ID))


def sweep(
    worker: str, pool: str, *, proc: Path = Path("/proc"), log: Callable[[str], None] = _logger.info
) -> dict[UUID, Survivor]:
    """Bring out the end of each run of ``worker`` that is shown as going on and has no process here.

    Return those that still go on: they outlived their worker (survivors.py). Must only be called when no worker of that
    name runs. Does nothing on systems that do not show processes' environments in ``/proc``: there the heartbeats alone
    tell.
    """
    from prefect import get_client

    if not (proc / "self/environ").exists():
        log("this system does not show processes' environments; dead runs are found by their missing heartbeats")
        return {}
    survivors = {}
    alive = {run_id: pid for pid, run_id in flow_processes(proc)}  # before the states: who is gone by then told its end
    with get_client(sync_client=True) as client:
        for run in _unfinished(client, pool):
            if not _is_ours(run, worker):
                continue
            if pid := alive.get(str(run.id)):
                log(f"the run {run.name} still goes on")
                survivors[run.id] = Survivor(pid, run.state.id)
            else:
                bring_out_end(client, run, worker, log)
    return survivors


def bring_out_end(client: Any, run: Any, worker: str, log: Callable[[str], None] = _logger.info) -> None:
    """Mark a run whose process is gone as Crashed, with the reason; as Cancelled when it was being cancelled."""
    from prefect.states import Cancelled, Crashed

    message = f"its process on {worker} ended without a word (a killed worker, or the host went down)"
    kind = Cancelled if run.state.is_cancelling() else Crashed
    client.set_flow_run_state(run.id, kind(message=message), force=True)
    end_tasks(client, run.id, message)
    log(f"the run {run.name} is {kind.__name__}: {message}; Retry goes on from what is finished")


def _unfinished(client: Any, pool: str) -> list[Any]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )

    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    runs: list[Any] = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
    return runs


def _is_ours(run: Any, worker: str) -> bool:
    if label := run.labels.get(_LABEL):
        return bool(label == worker)
    # Taken by a worker that died before it could sign: nobody else will ever mind it.
    return bool(run.state.is_pending() and datetime.now(UTC) - run.state.timestamp > _UNLABELLED_FOR)


def end_tasks(client: Any, run_id: Any, message: str) -> None:
    """Mark as Crashed the tasks of a run whose process is gone. Nobody else does: they would be Running for good."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.states import Crashed

    for task_run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))):
        if task_run.state and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message=message), force=True)
