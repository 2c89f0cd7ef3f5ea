"""A program in the place of a runtime's interpreter, run as a runtime is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from tests.runtimes.programs import make_interpreter


class Bench:
    """Runs a program in place of a runtime's interpreter and keeps the events."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.folder = folder
        self.events: list[dict[str, Any]] = []

    def job(self, verb: str = "train", **settings: Any) -> Job:
        return Job(verb, {}, str(self.work), str(self.work), settings)

    def run(
        self,
        source: str,
        on_event: Callable[[Mapping[str, Any]], object] | None = None,
        hang_seconds: float = 60.0,
        stop_grace_seconds: float = 60.0,
        **settings: Any,
    ) -> None:
        def keep(event: Mapping[str, Any]) -> None:
            self.events.append(dict(event))
            if on_event:
                on_event(event)

        run_job(
            self.job(**settings),
            "torch",
            python=make_interpreter(self.folder, source),
            hang_seconds=hang_seconds,
            stop_grace_seconds=stop_grace_seconds,
            on_event=keep,
        )
