"""The genuine demo at a small size, run by a genuine worker, to be disturbed in the middle of its training."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.deployments.place import Place, processes, wait_until

STEPS = 120
INTERVAL = 10  # steps between checkpoints
SIZE = {
    "data.demo_train_questions": 120,
    "data.demo_validation_questions": 20,
    "training.epochs": 4,
    "training.batch_size": 4,
    "training.checkpoint_interval_steps": INTERVAL,
    "runtime.threads": 1,
    "retry.delay_seconds": 0.1,
}


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    """Let a process stand still while the block runs, and go on after it, whatever happens, if it is there."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


class Training:
    """Runs of the deployment ``demo`` of a place. All of them train the same: to the same bytes, however disturbed."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._stage = place.folder / ".podsquad/store/train"

    def forget(self) -> None:
        """Take away the models and all checkpoints, so that the next run trains from the first step.

        What is published goes too: a run whose model is the champion already would end as unchanged.
        """
        for path in [*self._stage.glob("[0-9a-f]*"), *self._stage.glob(".work/*")]:
            shutil.rmtree(path)
        shutil.rmtree(self.place.folder / ".podsquad/published", ignore_errors=True)

    def start(self, *, publish: bool = False, **overrides: Any) -> str:
        """Start a run as the form does; ``retry__retries=1`` sets retry.retries."""
        given = SIZE | {name.replace("__", "."): value for name, value in overrides.items()}
        return self.place.start_run("demo", {"profile": "demo", "publish": publish, "overrides": given})

    def step(self) -> int:
        """Return the step of the newest whole checkpoint, 0 for none."""
        folders = self._stage.glob(".work/*/checkpoints/step-*")
        return max((int(path.name.removeprefix("step-")) for path in folders), default=0)

    def wait_for_step(self, after: int = 0) -> int:
        """Return once a checkpoint of a later step than ``after`` is there, and its step."""

        def look() -> int | None:
            step = self.step()
            return step if step > after else None

        found: int = wait_until(f"a checkpoint after step {after}", look)
        return found

    def child(self) -> int:
        """Return the process that trains; there is never more than one."""
        found: list[int] = wait_until("a runtime trains", self.children)
        assert len(found) == 1
        return found[0]

    def children(self) -> list[int]:
        """Return the runtimes of this place that train."""
        return self.runtimes("train.job.json")

    def runtimes(self, job: str = ".job.json") -> list[int]:
        """Return the runtimes of this place that work."""
        found = []
        for pid, _, line, _ in processes():
            command = line.decode(errors="replace").strip("\0").split("\0")
            if "podsquad.runtimes.torch" in command and Path(command[-1]).is_relative_to(self._stage.parent):
                found += [pid] if command[-1].endswith(job) else []
        return found

    def resumed_from(self, run_id: str) -> list[int]:
        """Return the steps from which the trainings of a run went on, in order."""
        return [
            int(step) for step in re.findall(r"going on from the checkpoint of step (\d+)", self.place.told(run_id))
        ]

    def outcomes(self, run_id: str) -> dict[str, set[str]]:
        """Return for each stage the names of the states in which its tasks are, one for each attempt at the run."""
        found: dict[str, set[str]] = {}
        for task in self.place.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}):
            found.setdefault(task["name"], set()).add(task["state"]["name"])
        return found

    @staticmethod
    def is_asked_to_stop(pid: int) -> bool:
        """Tell whether a process that stands still has a SIGTERM waiting for it (man 5 proc, ShdPnd)."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return bool(int(status["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)

    def made(self) -> dict[str, Any]:
        """Return what the training recorded, and its artifact's digest."""
        (artifact,) = self._stage.glob("[0-9a-f]*")
        manifest = json.loads((artifact / "manifest.json").read_text())
        record: dict[str, Any] = json.loads((artifact / "training.json").read_text())
        return record | {"digest": manifest["digest"]}
