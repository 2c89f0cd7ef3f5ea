"""Places for the tests against a genuine server and worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.deployments.place import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all of a module, alone."""
    with closing(Place(tmp_path_factory.mktemp("place"))) as made:
        made.up()
        yield made


@pytest.fixture(scope="session")
def running_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all modules that leave what they do not know as it is; its worker and server may have been killed."""
    with closing(Place(tmp_path_factory.mktemp("running"))) as made:
        made.up()
        yield made
