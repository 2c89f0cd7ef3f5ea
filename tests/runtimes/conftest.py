"""Fixtures of several runtimes' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A place in which a program is run as a runtime is."""
    return Bench(tmp_path)
