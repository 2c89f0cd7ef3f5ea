"""Progress as a Prefect artifact: seldom, once more at the end, and never a reason to stop or to wait."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tasks import progress as module
from tasks.progress import PrefectProgress


class Desk:
    """Takes down the artifacts in the server's place; the clock is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[str, float]] = []
        self.fails = False
        self.made: dict[str, Any] = {}

    def create(self, percent: float, **details: Any) -> UUID:
        return self._take("create", percent, details)

    def update(self, artifact: UUID, percent: float, **details: Any) -> UUID:
        assert artifact == self.made["id"]
        return self._take("update", percent, details)

    def _take(self, kind: str, percent: float, details: dict[str, Any]) -> UUID:
        if self.fails:
            raise ConnectionError("no server")
        self.calls.append((kind, percent))
        self.made = {"id": self.made.get("id") or uuid4(), **details}
        return self.made["id"]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(module, "create_progress_artifact", made.create)
    monkeypatch.setattr(module, "update_progress_artifact", made.update)
    return made


@pytest.fixture
def tell(desk: Desk) -> Callable[[float, int], None]:
    reporter = PrefectProgress("train", clock=lambda: desk.now, start=lambda work: work())

    def at(second: float, done: int) -> None:
        desk.now = 100.0 + second
        reporter.progress(done, 50, {"loss": 0.5})

    return at


def test_an_artifact_is_made_after_an_interval_and_updated_seldom(desk: Desk, tell: Callable[..., None]) -> None:
    for second in range(36):
        tell(second, second)
    assert desk.calls == [("create", 20.0), ("update", 40.0), ("update", 60.0)]
    assert desk.made["description"] == "30 of 50, loss 0.5000"
    tell(36, 50)
    assert desk.calls[-1] == ("update", 100.0)


def test_a_short_stage_makes_none(desk: Desk, tell: Callable[..., None]) -> None:
    for second in range(9):
        tell(second, second)
    tell(9, 50)
    assert desk.calls == []


def test_the_artifact_is_a_series_of_its_stage(desk: Desk, tell: Callable[..., None]) -> None:
    tell(10, 1)
    assert desk.made["key"] == "train-progress"


def test_a_server_that_cannot_be_reached_does_not_stop_the_stage(desk: Desk, tell: Callable[..., None]) -> None:
    desk.fails = True
    tell(10, 1)
    tell(20, 2)
    desk.fails = False
    tell(25, 3)
    assert desk.calls == []
    tell(30, 4)
    assert desk.calls == [("create", 8.0)]


RUN: contextvars.ContextVar[str] = contextvars.ContextVar("run", default="none")


def test_nobody_waits_for_a_server_that_does_not_answer_and_the_latest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked, told = threading.Event(), threading.Event(), threading.Event()
    calls: list[tuple[str, float, str]] = []

    def create(percent: float, **details: Any) -> UUID:
        calls.append(("create", percent, RUN.get()))
        asked.set()
        assert answers.wait(60)
        return uuid4()

    def update(artifact: UUID, percent: float, **details: Any) -> None:
        calls.append(("update", percent, RUN.get()))
        told.set()

    monkeypatch.setattr(module, "create_progress_artifact", create)
    monkeypatch.setattr(module, "update_progress_artifact", update)
    now = 0.0
    reporter = PrefectProgress("train", clock=lambda: now)
    RUN.set("this run")
    for done in range(1, 41):  # the server is asked at the first, and is silent until after the last
        now += 10.0
        reporter.progress(done, 50)
        assert asked.wait(60)
    assert calls == [("create", 2.0, "this run")]
    answers.set()
    assert told.wait(60)
    assert calls == [("create", 2.0, "this run"), ("update", 80.0, "this run")]
