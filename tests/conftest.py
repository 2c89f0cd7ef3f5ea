"""Fixtures of several rooms."""

import signal

import pytest

from tests.flows.night import night, prefect_server  # first: it sets Prefect's home before Prefect is imported
from tests.stages.fakes import fake_stages

# What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Begun first, so that none of them is left alone at the end where files run side by side (make test).
LONG = {"crash", "drill", "docker", "test_end_to_end.py", "test_end_to_end_hub.py", "test_end_to_end_ipu.py"}

__all__ = ["fake_stages", "night", "prefect_server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take minutes run before the others."""
    items.sort(key=lambda item: LONG.isdisjoint(item.nodeid.partition("::")[0].split("/")))
