"""Fixtures of the faults: an undisturbed run for the whole session, a token to look for, a place for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.place import CANARY, Chain, Place, make_chain
from tests.faults.server import prefect_server

__all__ = ["chain", "place", "prefect_server"]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_TOKEN", CANARY)
        return make_chain(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def place(tmp_path: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    return Place(tmp_path, chain)
