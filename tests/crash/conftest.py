"""Fixtures of the crash tests: what a run makes that nobody kills."""

from __future__ import annotations

import pytest

from tests.crash.command import VERDICT, Command
from tests.crash.pod import PodCommand
from tests.crash.whole import Whole
from tests.faults.server import prefect_server

__all__ = ["pod_night", "prefect_server", "undisturbed"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Whole:
    whole = Whole(Command(tmp_path_factory.mktemp("undisturbed"), prefect_server))
    for made in ("model.safetensors", "history.jsonl", "predictions.json", "receipt.json", "/current/", VERDICT):
        assert any(made in name for name in whole.made), f"{made} is not compared: {sorted(whole.made)}"
    return whole


@pytest.fixture(scope="session")
def pod_night(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Whole:
    """A night over the emulated IPU that nobody kills."""
    return Whole(PodCommand(tmp_path_factory.mktemp("pod"), prefect_server))
