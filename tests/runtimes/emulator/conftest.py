"""``poptorch`` as a fixture: the real one where it is installed, else the emulator's, gone again after this folder."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from podsquad.runtimes.emulator import PACKAGES


def _ours(name: str) -> bool:
    return name.split(".")[0] in ("poptorch", "popart")


@pytest.fixture(scope="package")
def poptorch() -> Iterator[ModuleType]:
    """Import poptorch; what the emulator put on the path and among the modules does not reach other tests."""
    if importlib.util.find_spec("poptorch") is not None:
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
    if "emulated" not in poptorch.__version__:
        pytest.skip("a real poptorch is installed: this test is about the emulation")
    return poptorch
