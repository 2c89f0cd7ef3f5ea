"""Places for the tests against a genuine server and worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployments.place import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all of a module, alone."""
    made = Place(tmp_path_factory.mktemp("place"))
    made.up()
    yield made
    made.down()


@pytest.fixture(scope="session")
def running_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all modules that leave what they do not know as it is; its worker and server may have been killed."""
    made = Place(tmp_path_factory.mktemp("running"))
    made.up()
    yield made
    made.down()
