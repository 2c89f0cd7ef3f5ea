"""How many hostile inputs each reader is given, and what counts as an input that was dealt with."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import HypothesisDeprecationWarning
from hypothesis.internal.conjecture import providers

OF_A_RUN = {
    "SQuAD file": 2500,
    "SQuAD file through the download stage": 60,
    "settings by --set": 900,
    "settings by the environment": 700,
    "settings by the form": 500,
    "job file": 900,
    "event stream": 1200,
    "manifest": 1400,
    "Arrow file": 1600,
    "layout": 300,
}
INPUTS = {
    **OF_A_RUN,
    "listing": 700,
    "receipt": 700,
    "notes of a target": 500,
    "question page": 500,
}
AT_LEAST = 10_000  # inputs of a run's own readers
INPUT_SECONDS = 120.0  # that one input may take on a slow machine; most take a millisecond
TIMES_VARIABLE = "PODSQUAD_HOSTILE_TIMES"  # so many times as many inputs, and other ones each time


def hostile(reader: str, *strategies: Any, **named: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on so many inputs of the strategies as INPUTS says for ``reader``: the same ones each time.

    The test raises for a wrong result; it is counted, and so is its time, for one that hangs is as bad as a wrong one.
    """
    times = int(os.environ.get(TIMES_VARIABLE, "1"))

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        count = 0

        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            nonlocal count
            count += 1
            begun = time.monotonic()
            test(*args, **kwargs)
            assert time.monotonic() - begun < INPUT_SECONDS

        run = settings(
            max_examples=INPUTS[reader] * times,
            derandomize=times == 1,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(given(*strategies, **named)(counted))

        @functools.wraps(run)
        def checked(*args: Any, **kwargs: Any) -> None:
            nonlocal count
            count = 0
            with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
                # A thread of an earlier test's Prefect may draw a number while an input is made, and hypothesis takes
                # the strategy for who drew it.
                warnings.filterwarnings("ignore", "Do not use the `random` module", HypothesisDeprecationWarning)
                if times == 1:
                    # Else hypothesis also draws what stands in the source of all modules that happen to be loaded.
                    patch.setattr(providers, "_get_local_constants", providers.Constants)
                    providers.CONSTANTS_CACHE.cache.clear()
                run(*args, **kwargs)
            assert count >= INPUTS[reader] * times, f"only {count} inputs were made for {reader}"

        return checked

    return decorate
