"""``poptorch`` as a fixture: the real one where it is installed, else the emulator's, gone again after this folder.

Where a real one is installed the contract alone runs: the other files of this folder are about the emulation.
"""

from __future__ import annotations

import functools
import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from podsquad.runtimes.emulator import PACKAGES, real_packages

HERE = Path(__file__).parent


@functools.lru_cache
def _is_real_installed() -> bool:
    return "poptorch" in real_packages(sys.executable)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why tests of the emulation do not run where a real poptorch is."""
    if not _is_real_installed():
        return
    for item in items:
        folders = Path(str(item.fspath)).parents
        if HERE in folders and HERE / "contract" not in folders:
            item.add_marker(pytest.mark.skip(reason="a real poptorch is installed: this test is about the emulation"))


def _ours(name: str) -> bool:
    return name.split(".")[0] in ("poptorch", "popart")


@pytest.fixture(scope="package")
def poptorch() -> Iterator[ModuleType]:
    """Import poptorch; what the emulator put on the path and among the modules does not reach other tests."""
    if _is_real_installed():
        yield importlib.import_module("poptorch")
        return
    sys.path.insert(0, str(PACKAGES))
    try:
        yield importlib.import_module("poptorch")
    finally:
        sys.path.remove(str(PACKAGES))
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]


@pytest.fixture(autouse=True)
def released_devices() -> None:
    """Let models of earlier tests give their IPUs back: optimizer and model hold one another."""
    gc.collect(1)


@pytest.fixture
def emulator(poptorch: ModuleType) -> ModuleType:
    """Give the emulation, for tests of what a real poptorch does not have."""
    assert "emulated" in poptorch.__version__
    return poptorch
