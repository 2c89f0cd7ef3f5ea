"""What a training leaves in the server's database: as much for few long steps as for many short ones."""

from __future__ import annotations

import functools
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from podsquad.stages.stage import Building
from tests.flows.night import Night

TRAINING_SECONDS = 600.0
INTERVAL_SECONDS = 10.0  # tasks/progress.py
STEPS = 500
STANDSTILL_SECONDS = 6.0  # the server writes its events every 5 s, or every 20 of them
PATIENCE_SECONDS = 60.0


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: connection.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}


def settled_rows(database: Path) -> dict[str, int]:
    """The rows of each table, once the server has written what it still held in memory."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    found, since = rows(database), time.monotonic()
    while time.monotonic() - since < STANDSTILL_SECONDS:
        assert time.monotonic() < deadline, f"the server still writes: {found}"
        time.sleep(0.2)
        now = rows(database)
        if now != found:
            found, since = now, time.monotonic()
    return found


def trained(night: Night, monkeypatch: pytest.MonkeyPatch, steps: int) -> dict[str, int]:
    """Run a night whose training takes ten minutes of a made-up clock; return the new rows of each table."""
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    from tasks import stage_task
    from tasks.progress import PrefectProgress

    clock = Clock()
    # At once and not aside: by the made-up clock a training is over before a server has answered.
    reporter = functools.partial(PrefectProgress, clock=clock, start=lambda work: work())
    monkeypatch.setattr(stage_task, "PrefectProgress", reporter)

    def train(building: Building) -> None:
        for step in range(1, steps + 1):
            clock.now += TRAINING_SECONDS / steps
            building.reporter.progress(step, steps, {"loss": 1.0 / step, "samples_per_second": 100.0})

    night.act["train"] = train
    database = Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    before = settled_rows(database)
    night.run(training__seed=steps)
    APILogHandler().flush()
    after = settled_rows(database)
    return {name: after[name] - before[name] for name in after if after[name] > before[name]}


def test_ten_times_the_steps_leave_no_more_rows(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    few = trained(night, monkeypatch, STEPS)
    many = trained(night, monkeypatch, 10 * STEPS)
    # Some services of the server write by the clock: the second run may meet one more of their rounds.
    assert sum(many.values()) <= sum(few.values()) * 1.1
    updates = TRAINING_SECONDS / INTERVAL_SECONDS
    assert updates <= few["log"] <= 2 * updates
