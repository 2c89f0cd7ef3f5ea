"""The builders: what reaches the runtime, and what its events become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.config.section import StageName
from podsquad.publishing import rescore
from podsquad.publishing.folder import FolderTarget
from podsquad.runtimes.job import Job
from podsquad.stages import builders
from podsquad.stages.builders import why_publication_is_stale
from podsquad.stages.stage import Building
from podsquad.store.artifacts import Artifact
from podsquad.store.durable import write_json
from tests.stages.fakes import Told

EVENTS: list[Mapping[str, Any]] = [
    {"event": "log", "level": "warning", "message": "hot"},
    {"event": "decision", "name": "program", "value": "eager", "reason": "a CPU"},
    {"event": "checkpoint", "step": 100},
    {"event": "progress", "step": 3, "total_steps": 9, "loss": 1.5, "seconds_left": 2, "unheard_of": 4},
    {"event": "of a later version", "x": 1},
]


guarded: list[list[str]] = []


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Stand in for the runtime: keep the jobs, check their output folder, send events."""
    seen: list[Job] = []

    def run_job(job: Job, runtime: str, **options: Any) -> None:
        assert runtime == "torch"
        assert options.keys() == {"python", "launcher", "hang_seconds", "inherited", "on_start", "on_event"}
        assert options["launcher"] == []
        guarded.append([os.readlink(f"/proc/self/fd/{handle}") for handle in options["inherited"]])
        assert list(Path(job.output).iterdir()) == []
        seen.append(job)
        (Path(job.output) / "result").write_text("")
        for event in EVENTS:
            options["on_event"](event)

    monkeypatch.setattr(builders, "run_job", run_job)
    return seen


def building(tmp_path: Path, *inputs: StageName, **runtime: Any) -> Building:
    for name in ("output", "work"):
        (tmp_path / name).mkdir(exist_ok=True)
    artifacts = {name: Artifact(name, "k", "d", tmp_path / name, 1) for name in inputs}
    overrides = {f"runtime.{name}": value for name, value in ({"device": "cpu"} | runtime).items()}
    settings = load_settings("demo", {"model.base": "scratch"} | overrides).settings
    return Building(settings, artifacts, tmp_path / "output", tmp_path / "work", "ab" * 16, Told())


def test_compile_and_train_order_their_verbs(jobs: list[Job], tmp_path: Path) -> None:
    made = building(tmp_path, "tokenize", "compile")
    builders.build_compile(made)
    (made.output / "result").unlink()
    builders.build_train(made)
    features, executable = str(tmp_path / "tokenize"), str(tmp_path / "compile")
    assert [(job.verb, job.inputs) for job in jobs] == [
        ("compile", {"features": features}),
        ("train", {"features": features, "executable": executable}),
    ]
    assert all((job.output, job.work) == (str(made.output), str(made.work)) for job in jobs)
    assert jobs[0].settings["runtime"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("exclusive", "device", "is_guarded"),
    [("auto", "cpu", False), ("auto", "cuda", True), ("always", "cpu", True), ("never", "cuda", False)],
)
def test_a_runtime_inherits_the_lock_of_its_accelerator(
    jobs: list[Job], tmp_path: Path, exclusive: str, device: str, is_guarded: bool
) -> None:
    made = building(tmp_path, "tokenize", exclusive=exclusive, device=device, lock_folder=tmp_path)
    builders.build_compile(made)
    lock = tmp_path / f"podsquad-{device}.lock"
    assert guarded[-1] == ([str(lock)] if is_guarded else [])
    assert lock.exists() == is_guarded


def test_events_become_lines_and_progress(jobs: list[Job], tmp_path: Path) -> None:
    made = building(tmp_path, "tokenize", "compile")
    builders.build_train(made)
    told = made.reporter
    assert isinstance(told, Told)
    assert told.lines == [
        ("warning", "hot"),
        ("info", "program: eager (a CPU)"),
        ("debug", "checkpoint of step 100 is complete"),
    ]
    assert told.steps == [(3, 9, {"loss": 1.5, "seconds_left": 2.0})]


def test_evaluate_predicts_into_an_empty_folder_at_every_attempt(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from podsquad.evaluation import report

    scored: list[Path] = []
    monkeypatch.setattr(report, "build_evaluation", lambda *paths: scored.append(paths[3]))
    for _ in range(2):  # the second finds what the first left in the work folder
        builders.build_evaluate(building(tmp_path, "download", "tokenize", "train"))
    assert [job.verb for job in jobs] == ["predict", "predict"]
    assert jobs[0].inputs == {"features": str(tmp_path / "tokenize"), "model": str(tmp_path / "train")}
    assert scored == [tmp_path / "work" / "logits"] * 2


def test_a_champion_is_run_with_this_run_s_executable(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescore, "features_for", lambda *given, log: given[2])
    monkeypatch.setattr(rescore, "score_again", lambda settings, *folders: folders)
    made = building(tmp_path, "download", "tokenize", "compile", "train")
    for _ in range(2):  # the second finds what the first left in the work folder
        scored = builders._rescore(made, tmp_path / "champion")
    assert scored == (tmp_path / "download", tmp_path / "tokenize", made.work / "champion-logits")
    assert [job.verb for job in jobs] == ["predict", "predict"]
    folders = {"features": "tokenize", "model": "champion", "executable": "compile"}
    assert jobs[1].inputs == {name: str(tmp_path / folder) for name, folder in folders.items()}


def test_a_verdict_is_stale_when_its_target_is_gone(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "published", "reader")
    write_json(tmp_path / "publication.json", vars(target.describe("ab" * 16)))
    write_json(tmp_path / "verdict.json", {"verdict": "first", "is_published": True})
    assert why_publication_is_stale(tmp_path) == f"{target.pointer} does not hold this version"
