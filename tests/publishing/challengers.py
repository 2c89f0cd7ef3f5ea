"""Made-up challengers: the artifacts of the five stages before publish, with scores as a test wants them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from podsquad.config.data_settings import DataSettings
from podsquad.config.load import load_settings
from podsquad.config.section import StageName
from podsquad.data.dataset import build_dataset
from podsquad.errors import DataError
from podsquad.publishing.decide import Rescored
from podsquad.publishing.publish import PublishOrder, publish_challenger, read_publication, read_verdict
from podsquad.publishing.target import Target
from podsquad.publishing.verdicts import read_verdicts, remember_verdict
from podsquad.store.artifacts import Artifact, Store
from podsquad.store.keys import make_ingredients

QUESTIONS_PER_ARTICLE, ARTICLES = 4, 25
_INPUTS: dict[StageName, tuple[StageName, ...]] = {
    "download": (),
    "tokenize": ("download",),
    "compile": ("tokenize",),
    "train": ("tokenize", "compile"),
    "evaluate": ("download", "tokenize", "train"),
}


def cannot_rescore(champion: Path) -> Rescored:
    """Stand in for a champion whose weights cannot be run."""
    raise DataError("the weights are of another kind")


@dataclass
class Desk:
    """One store and one target: challengers come and are judged."""

    target: Target
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    rescore: Callable[[Path], Rescored] = cannot_rescore
    smoke: Callable[[Path], object] = lambda folder: None
    seconds: float = 1.0
    """How long a training takes here, which the card tells: another machine's receipt of the same model differs."""
    is_emulated: bool = False
    """Whether the evaluations say that the IPUs of their models were."""
    lines: list[str] = field(default_factory=list)
    _orders: int = 0

    def inputs(self, weights: str, f1: float, evaluation: str = "e") -> dict[StageName, Path]:
        """Return the artifacts of a model whose every question has that F1 (0 to 1)."""
        made: dict[StageName, Artifact] = {}
        store = Store(self.folder / "store")
        with mock.patch.object(os, "fsync"):  # slow; what outlives a power cut is tests/store's matter
            for stage, inputs in _INPUTS.items():
                ingredients = make_ingredients(
                    stage=stage,
                    format_version=1,
                    settings={"training.seed": 7, "weights": weights} if stage == "train" else {"of": evaluation},
                    inputs={name: made[name].digest for name in inputs},
                    code={},
                    libraries={},
                )

                def build(output: Path, work: Path, handle: int, stage: StageName = stage) -> None:
                    self._fill(stage, output, weights, f1, evaluation)

                made[stage], _ = store.ensure(ingredients, build, log=self.lines.append)
        return {name: artifact.path for name, artifact in made.items()}

    def order(self, inputs: dict[StageName, Path], work: str = "") -> PublishOrder:
        """Return the order to publish them, with folders of its own; ``work`` names one that is used again."""
        self._orders += 1
        output, desk = self.folder / f"output-{self._orders}", self.folder / (work or f"work-{self._orders}")
        output.mkdir()
        desk.mkdir(exist_ok=True)
        settings = load_settings("demo", {"gate.guarded_slices": "", "gate.margin_f1": 1.0, **self.settings}).settings
        return PublishOrder(
            settings=settings,
            inputs=inputs,
            output=output,
            work=desk,
            target=self.target,
            smoke=self.smoke,
            rescore=self.rescore,
            earlier=read_verdicts(self.folder / "store"),
            remember=lambda verdict: remember_verdict(self.folder / "store", verdict),
            log=self.lines.append,
        )

    def night(self, weights: str, f1: float, evaluation: str = "e", **changes: Any) -> tuple[dict[str, Any], Path]:
        """Judge and publish; return the verdict and the artifact."""
        order = replace(self.order(self.inputs(weights, f1, evaluation)), **changes)
        publish_challenger(order)
        return read_verdict(order.output), order.output

    def champion(self) -> str:
        """The weights that the target holds."""
        state = self.target.state()
        assert state.champion
        self.target.fetch(state.champion.tag, self.folder / "looked-at", ("model.safetensors",))
        return (self.folder / "looked-at/model.safetensors").read_text()

    def holds(self, artifact: Path) -> bool:
        """Tell whether the target holds what the artifact says."""
        return self.target.why_not_held(read_publication(artifact).key) == ""

    def _fill(self, stage: StageName, output: Path, weights: str, f1: float, evaluation: str) -> None:
        if stage == "download":
            data = DataSettings(demo_train_questions=10, demo_validation_questions=10)
            build_dataset(data, output, log=self.lines.append)
        elif stage == "tokenize":
            (output / "layout.json").write_text(json.dumps({"max_length": 192, "stride": 64, "splits": {}}))
        elif stage == "compile":
            (output / "plan.json").write_text("{}")
        elif stage == "train":
            (output / "model").mkdir()
            (output / "record").mkdir()
            for name, content in {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": weights}.items():
                (output / "model" / name).write_text(content)
            (output / "training.json").write_text(json.dumps({"steps": 3, "device": "cpu", "mean_loss": 0.5}))
            (output / "record/training.json").write_text(json.dumps({"seconds": self.seconds}))
        else:
            metrics = {
                "exact_match": 100 * f1,
                "f1": 100 * f1,
                "num_questions": QUESTIONS_PER_ARTICLE * ARTICLES,
                "evaluation_digest": evaluation,
                "num_best": 20,
                "max_answer_tokens": 30,
                "slices": {},
            } | ({"emulated": True} if self.is_emulated else {})
            (output / "metrics.json").write_text(json.dumps(metrics))
            (output / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in question_rows(f1)))
            (output / "plots").mkdir()
            for name in ("loss.png", "f1_by_slice.png"):
                (output / "plots" / name).write_bytes(name.encode())


def question_rows(f1: float) -> list[dict[str, Any]]:
    """Return scored questions."""
    numbers = range(QUESTIONS_PER_ARTICLE * ARTICLES)
    return [{"id": f"q{n}", "article": f"a{n % ARTICLES}", "f1": f1, "slices": {}} for n in numbers]
