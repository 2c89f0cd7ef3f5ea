"""A stage's progress as an artifact of the Prefect run, seen in the UI while it works."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from podsquad.reporting import LogReporter, Progress

# Each update is a row and an event in the server's database.
_INTERVAL_SECONDS = 10.0
_logger = logging.getLogger("podsquad.prefect")


def _in_thread(work: Callable[[], None]) -> None:
    # Daemon: a process that ends does not wait for a server. Prefect knows the run by the context.
    threading.Thread(target=contextvars.copy_context().run, args=(work,), name="progress", daemon=True).start()


class PrefectProgress(LogReporter):
    """A reporter whose progress is also an artifact.

    The server is told aside: whoever reports, and reads what a runtime says meanwhile, never waits for it, nor fails
    with it. One call is under way at a time; of the progress that comes meanwhile the latest is told next.
    """

    def __init__(
        self,
        stage: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] = _in_thread,
    ) -> None:
        super().__init__(stage, on_progress=self._show, clock=clock)
        self._now = clock
        self._start = start
        # What takes less than an interval is over before anybody looks.
        self._next_update = clock() + _INTERVAL_SECONDS
        self._is_shown = False
        self._artifact: UUID | None = None  # of the thread that tells the server alone
        self._lock = threading.Lock()
        self._latest: Progress | None = None
        self._is_telling = False

    def _show(self, progress: Progress) -> None:
        now = self._now()
        is_last = self._is_shown and progress.done >= progress.total
        if now < self._next_update and not is_last:
            return
        self._next_update = now + _INTERVAL_SECONDS
        self._is_shown = True
        with self._lock:
            self._latest = progress
            if self._is_telling:
                return
            self._is_telling = True
        self._start(self._tell)

    def _tell(self) -> None:
        while progress := self._take_latest():
            try:
                if self._artifact is None:
                    self._artifact = create_progress_artifact(
                        progress.percent, key=f"{progress.stage}-progress", description=str(progress)
                    )
                else:
                    update_progress_artifact(self._artifact, progress.percent, description=str(progress))
            except Exception as error:
                _logger.debug("the progress artifact could not be updated: %s", error)

    def _take_latest(self) -> Progress | None:
        with self._lock:
            progress, self._latest = self._latest, None
            self._is_telling = progress is not None
        return progress
