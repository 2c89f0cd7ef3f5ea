"""Fixtures of the crash tests: what a run makes that nobody kills."""

from __future__ import annotations

import pytest

from tests.crash.command import KILLED, TRAINED, Command
from tests.crash.pod import PodCommand, Whole


class Undisturbed:
    """What a run makes that nobody kills, the places it comes to, and its last checkpoint."""

    def __init__(self, whole: Command, trained: Command) -> None:
        self.store = whole.store
        self.seconds = whole.finish()
        self.places, self.made = whole.places(), whole.made()
        for made in ("model.safetensors", "history.jsonl", "predictions.json", "receipt.json", "/current/"):
            assert any(made in name for name in self.made), f"{made} is not compared: {sorted(self.made)}"
        trained.copy_from(self.store, "download", "tokenize", "compile")
        assert trained.run(CRASH_AT=TRAINED) == KILLED, trained.told()
        self.checkpoint = trained.newest_checkpoint()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(Command(folder / "whole", prefect_server), Command(folder / "trained", prefect_server))


@pytest.fixture(scope="session")
def pod_night(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Whole:
    """A night over the emulated IPU that nobody kills."""
    return Whole(PodCommand(tmp_path_factory.mktemp("pod"), prefect_server))
