"""Fixtures of the crash tests: what a run makes that nobody kills."""

from __future__ import annotations

import shutil

import pytest

from podsquad.config.section import StageName
from tests.crash.command import KILLED, TRAINED, Command


class Undisturbed:
    """What a run makes that nobody kills, the places it comes to, and its last checkpoint."""

    def __init__(self, whole: Command, trained: Command) -> None:
        self.store = whole.store
        self.seconds = whole.finish()
        self.places, self.made = whole.places(), whole.made()
        for made in ("model.safetensors", "history.jsonl", "predictions.json", "receipt.json", "/current/"):
            assert any(made in name for name in self.made), f"{made} is not compared: {sorted(self.made)}"
        self.copy_to(trained, "download", "tokenize", "compile")
        assert trained.run(CRASH_AT=TRAINED) == KILLED, trained.told()
        self.checkpoint = trained.newest_checkpoint()

    def copy_to(self, command: Command, *stages: StageName) -> None:
        """Give a command's store the artifacts of some stages: they need not be made again."""
        for stage in stages:
            for path in (self.store / stage).glob("[0-9a-f]*"):
                shutil.copytree(path, command.store / stage / path.name)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(Command(folder / "whole", prefect_server), Command(folder / "trained", prefect_server))
