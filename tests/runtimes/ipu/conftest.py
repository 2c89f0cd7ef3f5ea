"""The IPU environment, and one executable for all tests that train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.ipu.made_up import WITHOUT_IPU_PYTHON, Desk, tiny_settings
from tests.runtimes.torch.made_up import make_features


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that need the IPU environment say why they cannot run where it is missing."""
    for item in items:
        if item.get_closest_marker("ipu"):
            item.add_marker(WITHOUT_IPU_PYTHON)


@pytest.fixture(scope="session")
def ipu_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of made-up tokens: 70 to train on, two full batches and a rest; 13 to predict, a third of a batch."""
    return make_features(tmp_path_factory.mktemp("ipu") / "features", num_train=70, num_validation=13)


@pytest.fixture
def desk(tmp_path: Path, ipu_features: Path) -> Desk:
    """A place to run verbs in."""
    return Desk(tmp_path, ipu_features)


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory, ipu_features: Path) -> dict[str, Path]:
    """The executables of the tiny training, by precision; float32 rounds to nearest."""
    made = {}
    for precision, rounding in (("float16", True), ("float32", False)):
        desk = Desk(tmp_path_factory.mktemp(precision), ipu_features)
        settings = tiny_settings(training__precision=precision, ipu__stochastic_rounding=rounding)
        made[precision] = desk.run("compile", settings)
    return made
