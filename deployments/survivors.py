"""Runs that outlived their worker, in the care of the next one: Prefect's worker minds only what it started itself.

Without it a Cancel would not reach such a run, and its sudden end would be told by nobody.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from deployments.sweep import bring_out_end, flow_processes


class Survivors:
    """The runs, by id, and whether a Cancel was passed on."""

    def __init__(self, worker: str, runs: Iterable[UUID]) -> None:
        self._worker = worker
        self._runs = dict.fromkeys(runs, False)

    def __bool__(self) -> bool:
        """Tell whether there is one left to mind."""
        return bool(self._runs)

    def processes(self) -> dict[UUID, int]:
        """Return those that live, with their processes."""
        return {UUID(run_id): pid for pid, run_id in flow_processes() if UUID(run_id) in self._runs}

    def look(self) -> None:
        """Pass a Cancel on as SIGTERM, bring out what a process that is gone could not tell, and forget that one."""
        from prefect import get_client
        from prefect.exceptions import ObjectNotFound

        processes = self.processes()
        with get_client(sync_client=True) as client:
            for run_id in list(self._runs):
                try:
                    run = client.read_flow_run(run_id)
                except ObjectNotFound:
                    del self._runs[run_id]
                    continue
                if run_id not in processes:
                    self._bring_out_end(client, run)
                elif run.state.is_cancelling() and not self._runs[run_id]:
                    self._runs[run_id] = True
                    os.kill(processes[run_id], signal.SIGTERM)

    def _bring_out_end(self, client: Any, run: Any) -> None:
        from prefect.states import Cancelled

        if self._runs.pop(run.id):
            client.set_flow_run_state(run.id, Cancelled(message="Flow run was cancelled."), force=True)
        elif run.state.is_running() or run.state.is_cancelling():
            bring_out_end(client, run, self._worker)
