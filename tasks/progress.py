"""A stage's progress as an artifact of the Prefect run, seen in the UI while it works."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from podsquad.reporting import LogReporter, Progress

# Each update is a row and an event in the server's database.
_INTERVAL_SECONDS = 10.0
_logger = logging.getLogger("podsquad.prefect")


class PrefectProgress(LogReporter):
    """A reporter whose progress is also an artifact; a server that cannot be reached never stops the stage."""

    def __init__(self, stage: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stage, on_progress=self._show, clock=clock)
        self._now = clock
        # What takes less than an interval is over before anybody looks.
        self._next_update = clock() + _INTERVAL_SECONDS
        self._artifact: UUID | None = None

    def _show(self, progress: Progress) -> None:
        now = self._now()
        is_last = self._artifact is not None and progress.done >= progress.total
        if now < self._next_update and not is_last:
            return
        self._next_update = now + _INTERVAL_SECONDS
        try:
            if self._artifact is None:
                self._artifact = create_progress_artifact(
                    progress.percent, key=f"{progress.stage}-progress", description=str(progress)
                )
            else:
                update_progress_artifact(self._artifact, progress.percent, description=str(progress))
        except Exception as error:
            _logger.debug("the progress artifact could not be updated: %s", error)
