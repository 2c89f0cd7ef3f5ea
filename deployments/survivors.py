"""Runs that outlived their worker, in the care of the next one: Prefect's worker minds only what it started itself.

Without it a Cancel would not reach such a run, and its sudden end would be told by nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from deployments.sweep import Survivor, bring_out_end, flow_processes


class Survivors:
    """The runs and their processes. A Retry runs in another one, which is its worker's and none of these."""

    def __init__(self, worker: str, found: Mapping[UUID, Survivor]) -> None:
        self._worker = worker
        self._found = dict(found)
        self._cancelled: set[UUID] = set()  # to those a Cancel was passed on

    def __bool__(self) -> bool:
        """Tell whether there is one left to mind."""
        return bool(self._found)

    def processes(self) -> dict[UUID, int]:
        """Return those that live, with their processes."""
        alive = set(flow_processes())
        return {run_id: each.pid for run_id, each in self._found.items() if (each.pid, str(run_id)) in alive}

    def look(self) -> None:
        """Pass a Cancel on as SIGTERM, bring out what a process that is gone could not tell, and forget that one."""
        from prefect import get_client
        from prefect.exceptions import ObjectNotFound

        alive = self.processes()  # before the states: what a process that is gone told is in them
        with get_client(sync_client=True) as client:
            for run_id in list(self._found):
                try:
                    run = client.read_flow_run(run_id)
                except ObjectNotFound:
                    del self._found[run_id]
                    continue
                if run_id not in alive:
                    self._bring_out_end(client, run)
                    del self._found[run_id]
                elif run.state.is_cancelling() and run_id not in self._cancelled:
                    self._cancelled.add(run_id)
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(alive[run_id], signal.SIGTERM)

    def _bring_out_end(self, client: Any, run: Any) -> None:
        """Tell how a run has ended, unless its own word stands or a Retry has begun."""
        from prefect.states import Cancelled

        if any(run_id == str(run.id) for _, run_id in flow_processes()):
            return
        # The process took the SIGTERM for a crash: that a Cancel was meant, only the worker that started it could say.
        if run.id in self._cancelled and run.state.is_crashed():
            client.set_flow_run_state(run.id, Cancelled(message="Flow run was cancelled."), force=True)
        # Pending is a Retry's state too, but not the very one that it was found in.
        elif run.state.is_running() or run.state.is_cancelling() or run.state.id == self._found[run.id].state_id:
            bring_out_end(client, run, self._worker)
