"""Fixtures of several rooms."""

from tests.flows.night import night, prefect_server  # first: it sets Prefect's home before Prefect is imported
from tests.stages.fakes import fake_stages

__all__ = ["fake_stages", "night", "prefect_server"]
