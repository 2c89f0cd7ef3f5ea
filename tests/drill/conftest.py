"""The server of the drills' runs."""

from tests.faults.server import prefect_server

__all__ = ["prefect_server"]
