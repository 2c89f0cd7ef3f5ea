"""The session's Prefect server, in whose records no token may stand at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.telling import CANARY, files_with_token


@pytest.fixture(scope="session")
def prefect_server(prefect_server: str) -> Iterator[str]:
    """The address of the server that runs tell of themselves: parameters, states, logs and artifacts."""
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

    database = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition(":///")[2])
    yield prefect_server
    records = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    assert b"retrain" in records  # the flow's name: its runs are in there
    assert CANARY.encode() not in records
    assert files_with_token(Path(os.environ["PREFECT_HOME"])) == []
