"""A place for the tests against a genuine server and worker: one for all of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployments.place import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"))
    made.up()
    yield made
    made.down()
