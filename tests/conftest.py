"""Fixtures of several rooms."""

import signal

from tests.flows.night import night, prefect_server  # first: it sets Prefect's home before Prefect is imported
from tests.stages.fakes import fake_stages

# What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["fake_stages", "night", "prefect_server"]
