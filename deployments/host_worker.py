"""Prefect's process worker, where it is changed: how it ends, where a run's output goes, what a cancelled run may take,
what is told twice, for whom a run waits, what is refused, and that it outlives any outage of its server.

It reaches into what Prefect keeps private (3.9.1, pinned in pyproject.toml); tests/deployments/test_worker.py,
test_resume.py and test_bad_days.py hold each of them against a genuine server.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from subprocess import DEVNULL
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import httpx
import prefect.runner._flow_run_executor as prefect_executor
import prefect.runner._starter_engine as prefect_starter
import prefect.workers.process as prefect_process
from prefect import get_client
from prefect._internal.observers import FlowRunCancellingObserver
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.exceptions import PrefectException
from prefect.states import Failed
from prefect.utilities.processutils import open_process

from deployments.home import CHECKOUT
from deployments.parameters import refuse_former
from deployments.sweep import UNFINISHED, end_tasks
from podsquad.errors import SettingsError
from tasks.server import why_away

_LOOK_SECONDS = 0.5
_logger = logging.getLogger("podsquad.worker")
# The states that a run had when this attempt at it began. Each attempt is a task of its own and so has its own value.
_EARLIER: ContextVar[frozenset[UUID]] = ContextVar("states before this attempt")


class HostWorker(prefect_process.ProcessWorker):  # type: ignore[misc]
    """The process worker of a host.

    ``is_closed``: it takes no more runs. ``num_open``: those that are not over. ``grace_seconds``: how long a cancelled
    run has to save before it is killed; Prefect gives it 30 s, less than a runtime may take (runtimes/launch.py).
    """

    __dispatch_key__ = "podsquad-process"  # not in the place of Prefect's own, which it is made of

    def __init__(self, *, grace_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.is_closed = False
        self.num_open = 0
        self._waited_for: dict[UUID, list[str]] = {}  # what was told, and needs not be told at each try
        prefect_process.FlowRunExecutorContext = functools.partial(_Context, grace_seconds)
        prefect_executor.FlowRunCancellingObserver = _Observer
        prefect_starter.run_process = _run_process

    async def get_and_submit_flow_runs(self) -> list[Any]:
        """Take the runs that are due, unless closed."""
        return [] if self.is_closed else await unless_away("what to run", super().get_and_submit_flow_runs) or []

    async def _sync_and_initialize(self) -> None:
        await unless_away("the pool", super()._sync_and_initialize)

    async def run(self, flow_run: Any, configuration: Any, task_status: Any = None) -> Any:
        """Run a flow's process to its end; a run that the flow does not take fails at once, with the reason."""
        self.num_open += 1
        try:
            _EARLIER.set(frozenset(state.id for state in await self.client.read_flow_run_states(flow_run.id)))
            if reason := await self._why_refused(flow_run):
                await self.client.set_flow_run_state(flow_run.id, Failed(message=reason), force=True)
                if task_status:
                    task_status.started("none")  # in the place of a process's number
                return prefect_process.ProcessWorkerResult(status_code=0, identifier="none")
            return await super().run(flow_run, configuration, task_status)
        finally:
            self.num_open -= 1

    async def _propose_pending_state(self, flow_run: Any) -> bool:
        is_taken = bool(await super()._propose_pending_state(flow_run))
        if is_taken:
            self._waited_for.pop(flow_run.id, None)
        else:
            await unless_away("whom a run waits for", lambda: self._tell_for_whom(flow_run))
        return is_taken

    async def _tell_for_whom(self, flow_run: Any) -> None:
        """Say on the page of a run that was not let in which runs of its deployment go on; Prefect names none."""
        of_it = FlowRunFilterDeploymentId(any_=[flow_run.deployment_id])
        going_on = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
        found = await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=of_it, state=going_on))
        names = sorted(f"{run.name} ({run.id})" for run in found if run.id != flow_run.id)
        if names and self._waited_for.get(flow_run.id) != names:
            self._waited_for[flow_run.id] = names
            state = (await self.client.read_flow_run(flow_run.id)).state
            does = "is cancelled because of" if state.is_cancelled() else "waits for"
            logger = self.get_flow_run_logger(flow_run)
            logger.info("this run %s %s, of the same deployment, which goes on", does, " and ".join(names))

    async def _why_refused(self, flow_run: Any) -> str:
        if flow_run.deployment_id is None:
            return ""
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        if not deployment.entrypoint:
            return ""
        try:
            refuse_former(deployment.entrypoint, flow_run.parameters, CHECKOUT)
        except SettingsError as error:
            return str(error)
        return ""

    async def _propose_crashed_state(self, flow_run: Any, message: str, client: Any = None) -> None:
        if not await _is_told(client or self.client, flow_run.id):
            await super()._propose_crashed_state(flow_run, message, client)


async def _run_process(
    command: list[str],
    *,
    stream_output: bool,
    task_status: Any,
    task_status_handler: Callable[[Any], Any],
    **options: Any,
) -> None:
    """Run a flow's process, whose output is the worker's own, to its end.

    Prefect lays a pipe between them. When the worker is killed it is broken, and the run ends at the next line that
    anything in it writes, a progress bar's too.
    """
    output = None if stream_output else DEVNULL
    async with open_process(command, stdin=DEVNULL, stdout=output, stderr=output, **options) as process:
        task_status.started(task_status_handler(process))
        await process.wait()


class _Observer(FlowRunCancellingObserver):  # type: ignore[misc]
    async def _check_for_cancelled_flow_runs(self) -> None:
        await unless_away("what to cancel", super()._check_for_cancelled_flow_runs)


class _Context(prefect_executor.FlowRunExecutorContext):  # type: ignore[misc]
    def __init__(self, grace_seconds: float) -> None:
        super().__init__()
        self._grace_seconds = grace_seconds

    async def __aenter__(self) -> _Context:
        await super().__aenter__()
        processes, proposer = self.process_manager, self._state_proposer
        kill, propose_crashed = processes.kill, proposer.propose_crashed

        # ``grace_seconds`` is Prefect's, and does not count.
        async def kill_when_saved(run_id: UUID, grace_seconds: float = 0.0, *, force: bool = False) -> None:
            if not force and (handle := processes.get(run_id)):
                handle.graceful_kill()
                with anyio.move_on_after(self._grace_seconds):
                    while handle.is_alive():
                        await anyio.sleep(_LOOK_SECONDS)
                    return
            await kill(run_id, force=True)
            await _end_tasks(run_id, "its process was killed")

        async def propose_crashed_once(flow_run: Any, message: str) -> Any:
            if await _is_told(self.client, flow_run.id):
                return None
            await _end_tasks(flow_run.id, message)  # first: then nobody has pressed Retry yet
            return await propose_crashed(flow_run, message)

        processes.kill, proposer.propose_crashed = kill_when_saved, propose_crashed_once
        return self


async def _end_tasks(run_id: UUID, message: str) -> None:
    def end() -> None:
        with get_client(sync_client=True) as client:
            end_tasks(client, run_id, message)

    await unless_away("the tasks of a run", lambda: anyio.to_thread.run_sync(end))


async def unless_away(what: str, call: Callable[[], Awaitable[Any]]) -> Any:
    """Return what ``call`` returns; None when the server cannot be reached or is not well.

    Of such failures Prefect's worker ends after a quarter of an hour, and takes the trainings of its runs with it; and
    after half a minute of them a Cancel does not reach a run any more, also when the server is back.
    """
    try:
        return await call()
    except httpx.HTTPError as error:
        if not (reason := why_away(error)):
            raise
    _logger.warning("the server cannot be asked for %s (%s); trying again", what, reason)
    return None


async def _is_told(client: Any, run_id: UUID) -> bool:
    """Tell whether this attempt at the run has its end already.

    Prefect reports a dead process twice, about a second apart, and a process that ended itself once more. A Retry that
    was pressed in between would be overwritten, and lost.
    """
    try:
        states = await client.read_flow_run_states(run_id)
    except (PrefectException, OSError):  # what follows finds out
        return False
    earlier = _EARLIER.get(frozenset())
    return any(state.is_final() for state in states if state.id not in earlier)
