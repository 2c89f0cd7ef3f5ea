"""The genuine flow on a genuine temporary Prefect server, over stages whose builders write a line instead of working.

Importing this sets, before Prefect is imported, a Prefect home for the session, so that nobody's own is touched. Run as
a program it is ``podsquad`` with those builders: see ``main``.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from podsquad.command.run import prepare_prefect
from podsquad.config.data_settings import DataSettings
from podsquad.config.fields import shaping_values
from podsquad.config.section import StageName
from podsquad.publishing.folder import FolderTarget
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from podsquad.stages.catalog import STAGES
from podsquad.stages.stage import Building

CHILD_VARIABLE = "NIGHT_CHILD"  # an interpreter for the training's runtime; none: no process is started
AFTER_TRAINING = ("scores", "verdict", "publication", "nights")  # the parts of a run's page that need a model
NO_DELAY = {"features.tokenizer": "train", "model.base": "scratch", "retry.delay_seconds": 0.0}

VERDICT = {
    "verdict": "first",
    "cause": None,
    "reason": "There is no champion yet.",
    "challenger_digest": "ab" * 32,
    "evaluation_digest": "cd" * 32,
    "margin_f1": 0.5,
    "slice_margin_f1": 2.0,
    "resamples": 10_000,
    "seed": 7,
    "is_published": True,
    "policy": "",
    "champion": None,
    "challenger": {"exact_match": 75.0, "f1": 87.5, "num_questions": 10},
    "overall": None,
    "slices": [],
    "num_earlier_uses": 0,
}

TRAINING = {"steps": 3, "mean_loss": 0.61, "final_loss": 0.33}


def _isolate_prefect() -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    home = tempfile.mkdtemp(prefix="podsquad-prefect-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    prepare_prefect(os.environ, Path(home))


if __name__ != "__main__":
    _isolate_prefect()


@dataclass
class Night:
    """Runs of the flow in one folder: which stages' builders were called, and the tasks' final states."""

    root: Path
    built: list[StageName] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    act: dict[StageName, Callable[[Building], None]] = field(default_factory=dict)  # done before a stage is built
    store: str = "store"
    run_id: str = ""  # of the last run
    verdict: dict[str, Any] = field(default_factory=dict)  # what the publish stage finds otherwise than VERDICT
    training: dict[str, Any] = field(default_factory=TRAINING.copy)  # what the train stage records

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings of every run."""
        places = {"store.path": str(self.root / self.store), "publish.folder": str(self.root / "published")}
        return NO_DELAY | places

    def run(self, refresh: list[StageName] | None = None, **overrides: Any) -> dict[str, Any]:
        """Run the flow; ``training__epochs=3`` sets training.epochs."""
        given = {name.replace("__", "."): value for name, value in overrides.items()}
        return self.submit(overrides=given, refresh=refresh or [])

    def submit(self, **parameters: Any) -> dict[str, Any]:
        """Run the flow with the parameters of its form."""
        from flows.retrain import retrain

        self.built.clear()
        self.states.clear()
        given = {"profile": "demo", **parameters, "overrides": self.overrides | parameters.get("overrides", {})}
        state = retrain(**given, return_state=True)
        self.run_id = str(state.state_details.flow_run_id)
        report: dict[str, Any] = state.result()
        return report

    def page(self) -> tuple[Any, dict[str, Any]]:
        """The last run and its artifacts, by key, as the server has them."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.run_id]))
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.run_id), {
                artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=chosen)
            }

    def artifact(self, stage: StageName) -> Path:
        """The folder of the one artifact that the stage has."""
        (path,) = [path for path in (self.root / self.store / stage).iterdir() if not path.name.startswith(".")]
        return path

    def build(self, name: StageName, building: Building) -> None:
        """Write what the later stages and the report read."""
        self.built.append(name)
        if name in self.act:
            self.act[name](building)
        output = building.output
        told = {each: artifact.digest for each, artifact in building.inputs.items()}
        (output / "file").write_text(f"{name} {shaping_values(building.settings, name)} {told}", encoding="utf-8")
        if name == "download":
            shutil.copytree(_dataset(), output, dirs_exist_ok=True)
        elif name == "train":
            (output / "model").mkdir()
            (output / "model/config.json").write_text("{}")
            (output / "model/model.safetensors").write_text(str(told))
            history = [{"step": step, "loss": 1.0 / step, "learning_rate": 0.001} for step in range(1, 4)]
            (output / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history))
            (output / "training.json").write_text(json.dumps(self.training))
        elif name == "evaluate":
            slices = {"question_word": {"who": {"num_questions": 10, "exact_match": 75.0, "f1": 87.5}}}
            metrics = {"exact_match": 75.0, "f1": 87.5, "num_questions": 10, "slices": slices}
            (output / "metrics.json").write_text(json.dumps(metrics))
        elif name == "publish":
            settings, model = building.settings.publish, building.inputs["train"].path / "model"
            files = {path.name: path for path in model.iterdir()}
            target = FolderTarget(settings.folder, settings.name)
            verdict = VERDICT | self.verdict
            if verdict["is_published"]:
                publication = target.publish(building.key, files, lambda folder: None)
            else:
                champion = target.state().champion
                publication = target.describe(champion.key if champion else "")
            (output / "publication.json").write_text(json.dumps(asdict(publication)))
            (output / "verdict.json").write_text(json.dumps(verdict))

    def stand_in(self, set_item: Callable[[Any, Any, Any], None]) -> None:
        """Put the builders in the stages' place; no source counts, and no library of this interpreter."""

        def builder(name: StageName) -> Callable[[Building], None]:
            return lambda building: self.build(name, building)

        for name, stage in list(STAGES.items()):
            set_item(STAGES, name, replace(stage, modules=(), libraries=(), build=builder(name)))


@cache
def _dataset() -> Path:
    from podsquad.data.dataset import build_dataset

    folder = Path(tempfile.mkdtemp(prefix="podsquad-dataset-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build_dataset(DataSettings(demo_train_questions=10, demo_validation_questions=10), folder, log=lambda *_: None)
    return folder


def failing(night: Night, stage: StageName, *errors: Exception) -> list[Building]:
    """Let the stage's first attempts fail; returns what the builder was given."""
    waiting, given = list(errors), []

    def act(building: Building) -> None:
        given.append(building)
        (building.work / f"attempt-{len(given)}").touch()
        if waiting:
            raise waiting.pop(0)

    night.act[stage] = act
    return given


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A temporary Prefect server with a database of its own, for the whole session; its address."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: str) -> Night:
    """The flow in a folder of its own."""
    from tasks import night as module

    made = Night(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow; what outlives a power cut is tests/store's matter
    made.stand_in(monkeypatch.setitem)
    configured = module.configured

    def watched(*arguments: Any) -> Any:
        def note(task: Any, run: Any, state: Any) -> None:
            made.states[task.name] = state.name

        task = configured(*arguments)
        task.on_completion(note)
        task.on_failure(note)
        return task

    monkeypatch.setattr(module, "configured", watched)
    return made


def train_in_a_process(building: Building) -> None:
    """Run a training's runtime with the interpreter of CHILD_VARIABLE."""
    job = Job("train", {}, str(building.output), str(building.work))
    run_job(job, "torch", python=Path(os.environ[CHILD_VARIABLE]), on_event=lambda event: print(event, file=sys.stderr))


def main(arguments: list[str]) -> None:
    """Be ``podsquad`` with the stand-ins, started in a folder of its own; settings for speed are added to ``run``."""
    from podsquad.cli import main as podsquad

    night = Night(Path.cwd())
    night.stand_in(dict.__setitem__)
    if CHILD_VARIABLE in os.environ:
        night.act["train"] = train_in_a_process
    podsquad(arguments + [f"--set={name}={value}" for name, value in night.overrides.items()])


if __name__ == "__main__":
    main(sys.argv[1:])
