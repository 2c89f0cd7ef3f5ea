"""Prefect's process worker, where it is changed: how it ends, how long a cancelled run may save, what it tells twice.

It reaches into what Prefect keeps private (3.9.1, pinned in pyproject.toml); tests/deployments/test_worker.py holds
each of the three against a genuine server.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import anyio
import prefect.workers.process as prefect_process
from prefect.exceptions import PrefectException
from prefect.runner._flow_run_executor import FlowRunExecutorContext

_LOOK_SECONDS = 0.5
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
        prefect_process.FlowRunExecutorContext = functools.partial(_Context, grace_seconds)

    async def get_and_submit_flow_runs(self) -> list[Any]:
        """Take the runs that are due, unless closed."""
        return [] if self.is_closed else await super().get_and_submit_flow_runs()

    async def run(self, flow_run: Any, *arguments: Any, **options: Any) -> Any:
        """Run a flow's process to its end."""
        self.num_open += 1
        try:
            _EARLIER.set(frozenset(state.id for state in await self.client.read_flow_run_states(flow_run.id)))
            return await super().run(flow_run, *arguments, **options)
        finally:
            self.num_open -= 1

    async def _propose_crashed_state(self, flow_run: Any, message: str, client: Any = None) -> None:
        if not await _is_told(client or self.client, flow_run.id):
            await super()._propose_crashed_state(flow_run, message, client)


class _Context(FlowRunExecutorContext):  # type: ignore[misc]
    def __init__(self, grace_seconds: float) -> None:
        super().__init__()
        self._grace_seconds = grace_seconds

    async def __aenter__(self) -> _Context:
        await super().__aenter__()
        processes, proposer = self.process_manager, self._state_proposer
        kill, propose_crashed = processes.kill, proposer.propose_crashed

        async def kill_when_saved(run_id: UUID, grace_seconds: float = 0.0, *, force: bool = False) -> None:
            if not force and (handle := processes.get(run_id)):
                handle.graceful_kill()
                with anyio.move_on_after(max(grace_seconds, self._grace_seconds)):
                    while handle.is_alive():
                        await anyio.sleep(_LOOK_SECONDS)
                    return
            await kill(run_id, force=True)

        async def propose_crashed_once(flow_run: Any, message: str) -> Any:
            return None if await _is_told(self.client, flow_run.id) else await propose_crashed(flow_run, message)

        processes.kill, proposer.propose_crashed = kill_when_saved, propose_crashed_once
        return self


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
