"""Tiny trainings on an emulated POD16, each verb in a process of the IPU environment as a stage starts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.emulated_night import IPU_PYTHON
from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from podsquad.stages.resolved import runtime_sections
from tests.runtimes.torch.made_up import MAX_LENGTH

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_IPU_PYTHON = pytest.mark.skipif(not IPU_PYTHON.exists(), reason=f"{IPU_PYTHON} is not there: make ipu-env")
BATCH = 28  # 1 a micro-batch x 4 replicas x 7 accumulated: the least that a pipeline of 4 takes
TINY = {
    "features.max_length": MAX_LENGTH,
    "features.stride": 8,
    "model.base": "scratch",
    "model.hidden_size": 16,
    "model.num_layers": 3,
    "model.num_heads": 2,
    "model.intermediate_size": 32,
    "runtime.python": IPU_PYTHON,
    "runtime.threads": 1,
    "ipu.layers_per_ipu": "0,1,1,1",
    "ipu.micro_batch": 1,
    "training.batch_size": BATCH,
    "training.epochs": 3,
    "training.checkpoint_interval_steps": 100,
}

# For `podsquad run --profile pod16-emulated`: six stages in float32, which resumes to the same bytes, with a model from
# scratch.
SMALL_NIGHT = (
    "data.demo_train_questions=36",
    "data.demo_validation_questions=12",
    "model.base=scratch",
    "model.hidden_size=16",
    "model.num_layers=3",
    "model.num_heads=2",
    "model.intermediate_size=32",
    "ipu.layers_per_ipu=0,1,1,1",
    "ipu.micro_batch=1",
    "ipu.stochastic_rounding=false",
    "training.precision=float32",
    f"training.batch_size={BATCH}",
    "training.epochs=3",
    "training.checkpoint_interval_steps=1",
    f"runtime.python={IPU_PYTHON}",
    "runtime.threads=1",
    "retry.delay_seconds=0.1",
)


def tiny_settings(**changes: Any) -> Settings:
    """Return the settings of a tiny training; ``training__epochs=1`` changes training.epochs."""
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return load_settings("pod16-emulated", TINY | given).settings


class Desk:
    """Runs the verbs below one folder and keeps what they tell."""

    def __init__(self, root: Path, features: Path) -> None:
        self.root = root
        self.features = features
        self.events: list[Mapping[str, Any]] = []

    def job(self, verb: str, settings: Settings, **inputs: Path) -> Job:
        """Return a job whose output is the new folder ``<root>/<verb>``; its work folder may be there already."""
        output, work = self.root / verb, self.root / f"{verb}-work"
        output.mkdir(parents=True)
        work.mkdir(exist_ok=True)
        given = {"features": self.features, **inputs}
        return Job(
            verb, {name: str(path) for name, path in given.items()}, str(output), str(work), runtime_sections(settings)
        )

    def run(
        self,
        verb: str,
        settings: Settings,
        on_event: Callable[[Mapping[str, Any]], object] | None = None,
        on_start: Callable[[int], object] = lambda pid: None,
        **inputs: Path,
    ) -> Path:
        """Run a verb to its end and return its output folder. Raises what the runtime names."""
        self.events = []

        def keep(event: Mapping[str, Any]) -> None:
            self.events.append(event)
            if on_event:
                on_event(event)

        job = self.job(verb, settings, **inputs)
        run_job(job, "ipu", python=IPU_PYTHON, on_start=on_start, on_event=keep)
        return Path(job.output)

    def train(self, settings: Settings, executable: Path, **given: Any) -> Path:
        """Train; the output folder of a failed attempt is cleared away, as a stage does."""
        try:
            return self.run("train", settings, executable=executable, **given)
        except PodsquadError:
            (self.root / "train").rmdir()
            raise

    def told(self, kind: str, part: str) -> list[Any]:
        """Return one part of every event of a kind."""
        return [event[part] for event in self.events if event["event"] == kind]


def history(model: Path) -> list[dict[str, Any]]:
    """Return a training's steps."""
    return [json.loads(line) for line in (model / "history.jsonl").read_text().splitlines()]
