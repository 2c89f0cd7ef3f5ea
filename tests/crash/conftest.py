"""Fixtures of the crash tests: what a run makes that nobody kills."""

from __future__ import annotations

import pytest

from tests.crash.command import VERDICT, Command
from tests.crash.pod import PodCommand, Whole
from tests.faults.server import prefect_server

__all__ = ["pod_night", "prefect_server", "undisturbed"]


class Undisturbed:
    """What a run makes that nobody kills, the places it comes to, and its last checkpoint."""

    def __init__(self, whole: Command, trained: Command) -> None:
        self.store = whole.store
        self.seconds = whole.finish()
        self.places, self.made = whole.places(), whole.made()
        for made in ("model.safetensors", "history.jsonl", "predictions.json", "receipt.json", "/current/", VERDICT):
            assert any(made in name for name in self.made), f"{made} is not compared: {sorted(self.made)}"
        self.checkpoint = trained.checkpoint_when_trained(self.store)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(Command(folder / "whole", prefect_server), Command(folder / "trained", prefect_server))


@pytest.fixture(scope="session")
def pod_night(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Whole:
    """A night over the emulated IPU that nobody kills."""
    folder = tmp_path_factory.mktemp("pod")
    return Whole(PodCommand(folder / "whole", prefect_server), PodCommand(folder / "trained", prefect_server))
