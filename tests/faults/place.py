"""A place where one stage at a time meets a fault: its own store, the artifacts of an undisturbed run as inputs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import StageOutcome, run_stage
from podsquad.store.artifacts import Artifact
from tests.faults.disks import PAGE_BYTES
from tests.faults.telling import CANARY, everything_told_by

TINY = {
    "data.demo_train_questions": 20,
    "data.demo_validation_questions": 10,
    "features.tokenizer": "demo",
    "model.base": "scratch",
    "model.hidden_size": 16,
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.intermediate_size": 32,
    "training.epochs": 2,
    "training.batch_size": 10,
    "training.checkpoint_interval_steps": 1,
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "store.lease_seconds": 5,
}
CHILD_STAGES: tuple[StageName, ...] = ("compile", "train", "evaluate")


def tiny_settings(folder: Path, **changes: Any) -> Settings:
    """Return the settings of a tiny run below ``folder``; ``training__epochs=1`` changes training.epochs."""
    places = {"store.path": str(folder / "store"), "publish.folder": str(folder / "published")}
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return load_settings("demo", TINY | places | given).settings


@dataclass
class Told:
    """A reporter that keeps what it is told; ``act`` is done once, at the first word from inside the build."""

    act: Callable[[], None] | None = None
    lines: list[str] = field(default_factory=list)

    def log(self, message: str, level: str = "info") -> None:
        self.lines.append(message)
        if not re.match(r"[a-z]+ runs: ", message):
            self._act()

    def progress(self, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        self.lines.append(f"{done} of {total} {figures}")
        self._act()

    def _act(self) -> None:
        if act := self.act:
            self.act = None
            act()


@dataclass
class Chain:
    """What an undisturbed run made."""

    folder: Path
    outcomes: dict[StageName, StageOutcome]

    def inputs(self, stage: StageName) -> dict[StageName, Artifact]:
        return {name: self.outcomes[name].artifact for name in STAGES[stage].inputs}

    def artifact(self, stage: StageName) -> Artifact:
        return self.outcomes[stage].artifact

    def files(self, stage: StageName) -> list[Path]:
        """The files of a stage's artifact, the manifest among them."""
        return sorted(path for path in self.artifact(stage).path.rglob("*") if path.is_file())

    def num_pages(self, stage: StageName) -> int:
        """The pages of a disk that the artifact's files take."""
        return sum(-(-path.stat().st_size // PAGE_BYTES) for path in self.files(stage))


def make_chain(folder: Path) -> Chain:
    """Run the six stages undisturbed."""
    settings = tiny_settings(folder)
    outcomes: dict[StageName, StageOutcome] = {}
    for name in STAGE_NAMES:
        inputs = {each: outcomes[each].artifact for each in STAGES[name].inputs}
        outcomes[name] = run_stage(name, settings, inputs, reporter=Told())
    return Chain(folder, outcomes)


class Place:
    """One folder with a store of its own, where stages run on the inputs of ``chain``."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.chain = chain
        self.told = Told()

    def run(self, stage: StageName, *, act: Callable[[], None] | None = None, **changes: Any) -> StageOutcome:
        """Run a stage; ``act`` happens while it is built."""
        self.told.act = act
        settings = tiny_settings(self.folder, **changes)
        try:
            return run_stage(stage, settings, self.chain.inputs(stage), reporter=self.told)
        finally:
            assert self.told.act is None, "the stage never came to where the harm is done"

    def fails(
        self,
        stage: StageName,
        kind: type[PodsquadError],
        what: str,
        *,
        act: Callable[[], None] | None = None,
        **changes: Any,
    ) -> PodsquadError:
        """Run a stage that must fail so, and look at all that is told and left; return the error."""
        with pytest.raises(PodsquadError) as caught:
            self.run(stage, act=act, **changes)
        error = caught.value
        check_error(error, kind, what)
        self.check_nothing_half_made(stage)
        self.check_secrets(error)
        return error

    def ends_whole(self, stage: StageName, **changes: Any) -> StageOutcome:
        """Run a stage that must end well, in the bytes of the undisturbed run, and leave nothing else behind."""
        outcome = self.run(stage, **changes)
        if stage != "publish":  # its record names the folder
            assert outcome.artifact.digest == self.chain.artifact(stage).digest
        assert not list((self.store / stage / ".work").glob("*"))
        self.check_secrets()
        return outcome

    def check_nothing_half_made(self, stage: StageName) -> None:
        """No artifact is there, nor a part of one, but what the next attempt goes on from."""
        home = self.store / stage
        if home.is_dir():
            assert {path.name for path in home.iterdir()} <= {".leases", ".staging", ".work", ".damaged"}
            assert list((home / ".staging").glob("*")) == []
            assert not [path for path in home.rglob(".tmp-*") if (home / ".work") not in path.parents]

    def check_secrets(self, error: BaseException | None = None) -> None:
        """The token is in no file, log line or error."""
        assert CANARY not in "\n".join(self.told.lines)
        if error:
            assert CANARY not in everything_told_by(error)
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert CANARY.encode() not in path.read_bytes(), path


def check_error(error: PodsquadError, kind: type[PodsquadError], what: str) -> None:
    """The error is of that very class and says what happened, why, and what to do, in words."""
    assert type(error) is kind, str(error)
    assert re.search(what, error.what), error.what
    assert error.why
    assert error.do
    assert "Traceback" not in str(error)


def remove(folder: Path) -> Callable[[], None]:
    """Return what takes a folder away, whoever writes to it meanwhile."""

    def act() -> None:
        gone = folder.with_name(folder.name + ".gone")
        os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    return act
