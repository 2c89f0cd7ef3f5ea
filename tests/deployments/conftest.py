"""The place of the tests against a genuine server and worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.deployments.place import Place


@pytest.fixture(scope="package")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all modules that leave what they do not know as it is."""
    with closing(Place(tmp_path_factory.mktemp("place"))) as made:
        made.up()
        yield made


@pytest.fixture(scope="module")
def place(shared_place: Place) -> Place:
    """The same, alive, whatever the module before did to its server and worker."""
    shared_place.ensure_up()
    return shared_place
