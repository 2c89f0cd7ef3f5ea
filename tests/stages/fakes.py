"""Six stages whose builders write a line instead of working, over settings that need no file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.fields import shaping_values
from podsquad.config.load import load_settings
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import StageOutcome, run_stage
from podsquad.stages.stage import Building
from podsquad.store.artifacts import Artifact, never_stale


@dataclass
class Told:
    """A reporter that keeps what it is told."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    steps: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    word: str = ""

    def log(self, message: str, level: str = "info") -> None:
        """Keep a line."""
        self.lines.append((level, message))

    def progress(self, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        """Keep a step."""
        self.steps.append((done, total, dict(figures or {})))

    def mark(self, word: str) -> None:
        """Keep the mark."""
        self.word = word


@dataclass
class FakeStages:
    """The stages' stand-ins: which ran, in order, and a way to run all of them."""

    root: Path
    ran: list[StageName] = field(default_factory=list)
    stale: str = ""  # why a publication is stale

    def settings(self, **overrides: Any) -> Settings:
        """Return settings; ``training__epochs=3`` sets training.epochs."""
        base = {
            "store.path": str(self.root / "store"),
            "publish.folder": str(self.root / "published"),
            "features.tokenizer": "train",
            "model.base": "scratch",
        }
        given = {name.replace("__", "."): value for name, value in overrides.items()}
        return load_settings("demo", base | given).settings

    def run_all(self, settings: Settings) -> dict[StageName, StageOutcome]:
        """Run the six stages as the flow does."""
        outcomes: dict[StageName, StageOutcome] = {}
        for name in STAGE_NAMES:
            inputs: dict[StageName, Artifact] = {each: outcomes[each].artifact for each in STAGES[name].inputs}
            outcomes[name] = run_stage(name, settings, inputs, reporter=Told())
        return outcomes

    def builder(self, name: StageName) -> Callable[[Building], None]:
        """Return a builder that writes what shapes the stage."""

        def build(building: Building) -> None:
            self.ran.append(name)
            told = {each: artifact.digest for each, artifact in building.inputs.items()}
            text = f"{name} {shaping_values(building.settings, name)} {told}"
            (building.output / "file").write_text(text, encoding="utf-8")

        return build


@pytest.fixture
def fake_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStages:
    """Put the stand-ins in the stages' place; no source and no library counts."""
    fakes = FakeStages(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow; what outlives a power cut is tests/store's matter

    def why_stale(path: Path) -> str:
        return fakes.stale

    for name, stage in list(STAGES.items()):
        fake = replace(
            stage,
            modules=(),
            libraries=(),
            verb=None,
            build=fakes.builder(name),
            why_stale=why_stale if name == "publish" else never_stale,
        )
        monkeypatch.setitem(STAGES, name, fake)
    return fakes
