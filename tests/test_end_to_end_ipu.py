"""The profile pod16-emulated through the command: six stages, what they say of themselves, and what is used again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import torch
from safetensors.torch import save_file
from transformers import RobertaForQuestionAnswering

from podsquad.config.load import load_settings
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.evaluation.report import read_history
from podsquad.publishing.rescore import score_again
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from podsquad.stages.resolved import runtime_sections
from tests.runtimes.ipu.made_up import IPU_PYTHON, ROOT, SMALL_NIGHT, WITHOUT_IPU_PYTHON

pytestmark = [
    pytest.mark.ipu,
    pytest.mark.timeout(1800),
    WITHOUT_IPU_PYTHON,
]


class Command:
    """``podsquad`` with the profile pod16-emulated, in a folder of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        python = {"PODSQUAD_RUNTIME__PYTHON": str(IPU_PYTHON)}
        self.environ = {**os.environ, **python, "PREFECT_API_URL": server, "PYTHONPATH": str(ROOT)}

    def call(self, *arguments: str, profile: str = "pod16-emulated", code: int = 0) -> tuple[str, str]:
        """Return standard output and standard error; it must end with that exit code."""
        command = [sys.executable, "-m", "podsquad", *arguments, "--profile", profile]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=1700, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, done.stderr

    def run(self, *arguments: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.call("run", "--json", *arguments)[0])
        return report

    def plan(self, *arguments: str) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads(self.call("plan", "--json", *arguments)[0])
        return plan


def actions(plan: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["action"] for stage in plan["stages"]}


def untrained_f1(paths: dict[str, Path], folder: Path) -> float:
    """Return the F1 of a night's model as it was before its training, as its own programs predict."""
    shutil.copytree(paths["train"] / "model", folder / "untrained/model")
    torch.manual_seed(0)
    fresh = RobertaForQuestionAnswering.from_pretrained(ENCODER_FOLDER)
    save_file(fresh.state_dict(), folder / "untrained/model/model.safetensors", metadata={"format": "pt"})
    for name in ("logits", "work"):
        (folder / name).mkdir()
    settings = load_settings("pod16-emulated").settings
    inputs = {"features": paths["tokenize"], "model": folder / "untrained", "executable": paths["compile"]}
    job = Job(
        "predict",
        {name: str(path) for name, path in inputs.items()},
        str(folder / "logits"),
        str(folder / "work"),
        runtime_sections(settings),
    )
    run_job(job, "ipu", python=IPU_PYTHON, on_event=lambda event: None)
    scored = score_again(settings.evaluation, paths["download"], paths["tokenize"], folder / "logits")
    return float(scored.metrics["f1"])


def shown_on_the_page(server: str, *names: str) -> dict[str, str]:
    """Return what the newest artifacts of these keys say of themselves on Prefect's pages."""
    wanted = json.dumps({"artifacts": {"key": {"any_": names}}}).encode()
    asked = Request(f"{server}/artifacts/latest/filter", wanted, {"Content-Type": "application/json"})
    with urlopen(asked, timeout=60) as answer:
        return {each["key"]: each["description"] for each in json.load(answer)}


def test_a_night_on_the_emulation(tmp_path: Path, prefect_server: str) -> None:
    command = Command(tmp_path, prefect_server)
    told, said = command.call("run", "--json")
    report = json.loads(told)
    assert {stage["state"] for stage in report["stages"]} == {"ran"}
    paths = {stage["stage"]: Path(stage["path"]) for stage in report["stages"]}

    losses = [entry["loss"] for entry in read_history(paths["train"])]
    first, last = (sum(part) / 8 for part in (losses[:8], losses[-8:]))
    assert last < first / 3
    assert report["f1"] > untrained_f1(paths, tmp_path) + 50

    lines = [line for line in said.splitlines() if line.startswith(("compile ", "train ", "evaluate ", "publish "))]
    assert [line for line in lines if " emulated: " not in line] == []
    for part in (" is done in ", " of 46, loss ", "pod: pod16 (layers per IPU"):
        assert any(part in line for line in lines), part
    names = ("train-progress", *(f"pod16-emulated-{each}" for each in ("training", "scores", "verdict")))
    shown = shown_on_the_page(prefect_server, *names)
    assert shown.keys() == set(names)
    assert all(each.startswith("emulated: ") for each in shown.values()), shown

    assert report["emulated"] is True
    assert json.loads((paths["train"] / "training.json").read_text())["emulated"] is True
    executable = json.loads((paths["compile"] / "plan.json").read_text())
    assert executable["emulated"] is True
    assert (executable["pod"]["num_ipus"], executable["pod"]["gradient_accumulation"]) == (16, 16)
    assert json.loads((paths["evaluate"] / "metrics.json").read_text())["emulated"] is True
    assert "**Emulated**" in (paths["evaluate"] / "report.md").read_text()
    card = (tmp_path / report["pointer"] / "README.md").read_text()
    assert "**Made on an emulator.**" in card
    assert "| ipu.layers_per_ipu |" in card

    plan = command.plan()
    assert set(actions(plan).values()) == {"reuse"}, plan["stages"]
    assert any("emulated" in figure["how"] for figure in plan["estimates"])
    other = actions(command.plan("--set", "training.learning_rate=1e-4"))
    assert (other["compile"], other["train"]) == ("reuse", "run")
    assert actions(command.plan("--set", "features.max_length=80"))["tokenize"] == "run"


def test_an_executable_is_used_again_but_for_another_length(tmp_path: Path, prefect_server: str) -> None:
    command = Command(tmp_path, prefect_server)

    def night(*sets: str) -> tuple[dict[str, str], dict[str, Any], Path]:
        settings = [part for each in (*SMALL_NIGHT, *sets) for part in ("--set", each)]
        stages = {stage["stage"]: stage for stage in command.run(*settings)["stages"]}
        compiled, trained = (Path(stages[name]["path"]) for name in ("compile", "train"))
        records = [path.read_text() for path in (compiled / "record/compile.json", trained / "record/training.json")]
        made = {name: json.loads(text) for name, text in zip(("compile", "train"), records, strict=True)}
        return {name: stage["state"] for name, stage in stages.items()}, made, compiled

    states, made, executable = night()
    assert set(states.values()) == {"ran"}
    assert (made["compile"]["programs_compiled"], made["train"]["programs_compiled"]) == (2, 0)
    states, _, _ = night()
    assert "ran" not in states.values()
    states, made, same = night("training.learning_rate=1e-4")
    assert states["compile"] != "ran"
    assert states["train"] == "ran"
    assert same == executable
    assert made["train"]["programs_compiled"] == 0
    # The stage runs for other data, and takes the programs over; a longer sequence makes others.
    states, made, other = night("data.demo_train_questions=40")
    assert states["compile"] == "ran"
    assert (made["compile"]["programs_compiled"], made["compile"]["programs_of"]) == (0, executable.name)
    states, made, longer = night("features.max_length=80")
    assert (made["compile"]["programs_compiled"], made["train"]["programs_compiled"]) == (2, 0)
    keys = {json.loads((each / "plan.json").read_text())["graph_key"] for each in (executable, other, longer)}
    assert len(keys) == 2


def test_a_champion_of_another_evaluation_set_is_scored_again_on_the_emulation(
    tmp_path: Path, prefect_server: str
) -> None:
    command = Command(tmp_path, prefect_server)
    small = [part for each in SMALL_NIGHT for part in ("--set", each)]
    assert command.run(*small)["verdict"]["verdict"] == "first"
    others = ("--set", "data.demo_validation_questions=16", "--set", "training.learning_rate=1e-4")
    told, said = command.call("run", "--json", *small, *others)
    assert "it is scored again" in said
    assert "is compiled now" not in said  # this run's programs are of the champion's graph
    verdict = json.loads(told)["verdict"]
    assert verdict["champion"]["is_rescored"] is True
    assert verdict["champion"]["num_questions"] == verdict["challenger"]["num_questions"] == 16
    assert verdict["verdict"] in ("promoted", "rejected")


def test_pod16_without_an_sdk_fails_at_once_with_both_ways_out(tmp_path: Path, prefect_server: str) -> None:
    said = Command(tmp_path, prefect_server).call("run", profile="pod16", code=64)[1]
    assert "there is no Poplar SDK" in said
    assert "docker/ipu.Dockerfile" in said
    assert "--profile pod16-emulated" in said
    assert list(tmp_path.iterdir()) == []
