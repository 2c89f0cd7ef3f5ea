"""The genuine article: six stages, no stand-ins, as a stranger meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from podsquad.config.load import load_settings
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.data.arrow import Features, read_layout
from podsquad.data.dataset import read_report
from podsquad.evaluation.report import read_metrics
from podsquad.evaluation.squad_metric import score_files
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import StageOutcome, run_stage
from podsquad.store.artifacts import Artifact
from tests.stages.fakes import Told

HOME = Path(__file__).resolve().parents[1]
REAL_DATA = HOME.parent / "shared/data"
SMALL = ("data.demo_train_questions=60", "data.demo_validation_questions=24", "training.epochs=1")
real_data = pytest.mark.skipif(
    not (REAL_DATA / "squad/train.json").is_file(), reason=f"the real questions are not there: {REAL_DATA}"
)


class Demo:
    """The command with the profile demo at a small size, in a folder of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": str(HOME)}

    def call(self, *arguments: str, sets: tuple[str, ...] | None = ()) -> str:
        """Run ``podsquad`` and return its standard output; it must end well. ``sets`` None: it takes no settings."""
        settings = [] if sets is None else [f"--set={assignment}" for assignment in (*SMALL, *sets)]
        command = [sys.executable, "-m", "podsquad", *arguments, *settings]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.call("run", "--json"))
        return report

    def plan(self, *sets: str) -> dict[str, tuple[str, str]]:
        """Return action and reason by stage."""
        stages = json.loads(self.call("plan", "--json", sets=sets))["stages"]
        return {stage["stage"]: (stage["action"], stage["reason"]) for stage in stages}


def states(report: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in report["stages"]}


@pytest.mark.timeout(1500)
def test_a_stranger_s_demo(tmp_path: Path, prefect_server: str) -> None:
    demo = Demo(tmp_path, prefect_server)
    first = demo.run()
    assert states(first) == dict.fromkeys(STAGE_NAMES, "ran")
    assert first["num_questions"] == 24
    assert 0.0 <= first["exact_match"] <= first["f1"] <= 100.0

    # A plan after it reuses everything, and a changed setting runs what it shapes, by name.
    assert demo.plan() == dict.fromkeys(STAGE_NAMES, ("reuse", "unchanged"))
    changed = demo.plan("training.learning_rate=2e-3")
    assert {stage for stage, (action, _) in changed.items() if action == "run"} == {"train", "evaluate", "publish"}
    assert changed["train"][1] == "training.learning_rate 0.001 -> 0.002"

    # A file that is gone makes its stage run again, and no other: what it makes has the same bytes.
    for stage in ("tokenize", "train"):
        (path,) = [Path(each["path"]) for each in first["stages"] if each["stage"] == stage]
        victim = next(file for file in sorted(path.rglob("*")) if file.suffix in (".arrow", ".safetensors"))
        victim.unlink()
        assert states(demo.run()) == {name: "ran" if name == stage else "reused" for name in STAGE_NAMES}
        assert victim.is_file()

    # What is published loads in plain transformers and answers.
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / first["pointer"])
    assert type(model).__name__ == "RobertaForQuestionAnswering"
    assert AutoTokenizer.from_pretrained(tmp_path / first["pointer"]).is_fast
    example = first["example"]
    answer = json.loads(demo.call("ask", example["question"], "--context", example["context"], "--json"))
    assert answer["text"] == example["context"][answer["char_start"] : answer["char_end"]]
    card = (tmp_path / first["publication"] / "README.md").read_text(encoding="utf-8")
    assert f"{first['f1']:.2f}" in card
    public_class = json.loads((tmp_path / first["pointer"] / "config.json").read_text())["architectures"]
    assert public_class == ["RobertaForQuestionAnswering"]
    assert "RobertaForQuestionAnswering" in card

    # It is as its receipt says, down to the store and the made-up world.
    down = ("verify", first["pointer"], "--store", ".podsquad/store", "--data", "demo", "--json")
    told = json.loads(demo.call(*down, sets=None))
    found = {(each["where"], each["state"]) for each in told["findings"]}
    assert found == {(where, "ok") for where in ("published", "receipt", "store", "data")} | {
        ("receipt", "not checked")
    }
    statements = {each["name"] for each in told["findings"] if each["state"] == "not checked"}
    assert statements == {"gate.champion", "podsquad"}
    assert {"dataset", "scores"} <= {each["name"] for each in told["findings"]}

    # The same training again gives the same bytes, and publishes nothing.
    canary = json.loads(demo.call("run", "--canary", "--json"))
    assert canary["verdict"] == "reproduced", canary["summary"]
    assert canary["reference"].startswith("the champion")
    assert json.loads(demo.call(*down, sets=None))["version"] == told["version"]


@real_data
def test_real_questions_go_through_all_stages(tmp_path: Path) -> None:
    settings = load_settings(
        "cpu",
        {
            "store.path": tmp_path / "store",
            "publish.folder": tmp_path / "published",
            "data.train_file": REAL_DATA / "squad/train.json",
            "data.validation_file": REAL_DATA / "squad/dev.json",
            "features.tokenizer": str(REAL_DATA / "roberta-base-tokenizer"),
            "model.base": "scratch",
            "model.num_layers": 1,
            "model.num_heads": 2,
            "model.hidden_size": 32,
            "model.intermediate_size": 64,
            "training.epochs": 1,
            "training.batch_size": 128,
        },
    ).settings
    outcomes: dict[StageName, StageOutcome] = {}
    for name in STAGE_NAMES:
        inputs: dict[StageName, Artifact] = {each: outcomes[each].artifact for each in STAGES[name].inputs}
        outcomes[name] = run_stage(name, settings, inputs, reporter=Told())
    paths = {name: outcome.artifact.path for name, outcome in outcomes.items()}

    # The figures of the data's own description: 2,575 and 612 questions, 1.0x features per question, about 180 tokens.
    report = read_report(paths["download"])
    assert [report["splits"][split]["kept"] for split in ("train", "validation")] == [2575, 612]
    splits = read_layout(paths["tokenize"])["splits"]
    assert splits["validation"]["num_features"] == 622
    assert splits["validation"]["num_tokens"] / 622 == pytest.approx(180.3, abs=3)
    assert len(Features(paths["tokenize"], "train")) == splits["train"]["num_features"]

    # The scores are those of the predictions, in the official form, against the original file.
    metrics = read_metrics(paths["evaluate"])
    scored = score_files(REAL_DATA / "squad/dev.json", paths["evaluate"] / "predictions.json")
    assert metrics["num_questions"] == 612
    assert (metrics["exact_match"], metrics["f1"]) == (scored["exact_match"], scored["f1"])
    assert json.loads((paths["train"] / "training.json").read_text())["steps"] == -(-2675 // 128)
