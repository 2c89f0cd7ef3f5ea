"""What a stage tells while it works."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from podsquad.reporting import PROGRESS_LOGGER, LogReporter, Progress


class Kept(logging.Handler):
    """Keep records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Iterator[Kept]:
    yield from kept("podsquad.train")


@pytest.fixture
def bar() -> Iterator[Kept]:
    yield from kept(PROGRESS_LOGGER)


def kept(name: str) -> Iterator[Kept]:
    logger, handler = logging.getLogger(name), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("done", "total", "percent"), [(0, 8, 0.0), (2, 8, 25.0), (8, 8, 100.0), (0, 0, 100.0)]
)  # fmt: skip
def test_a_share_is_a_percentage(done: int, total: int, percent: float) -> None:
    assert Progress("train", done, total).percent == percent


def test_figures_that_are_known_are_told() -> None:
    figures = {"seconds_left": 61.4, "loss": 1.25, "samples_per_second": 1234.6, "learning_rate": 6e-5}
    assert str(Progress("train", 1000, 2000, figures)) == (
        "1,000 of 2,000, loss 1.2500, learning rate 6.00e-05, 1,235 samples/s, 61 s left"
    )
    assert str(Progress("train", 1, 2)) == "1 of 2"


@pytest.mark.parametrize(
    ("level", "number"),
    [("debug", 10), ("info", 20), ("warning", 30), ("error", 40), ("WARNING", 30), ("unheard of", 20)],
)
def test_lines_go_to_the_stage_s_logger(level: str, number: int, lines: Kept) -> None:
    LogReporter("train").log("100 % of {this} stays %s", level)
    assert [(record.levelno, record.getMessage()) for record in lines.records] == [(number, "100 % of {this} stays %s")]


def test_progress_becomes_a_line_every_ten_seconds_and_at_the_end(lines: Kept, bar: Kept) -> None:
    now = [100.0]
    shown: list[Progress] = []
    reporter = LogReporter("train", on_progress=shown.append, clock=lambda: now[0])
    for step, seconds in ((1, 0.0), (2, 9.9), (3, 10.0), (4, 12.0), (5, 25.0), (6, 25.1)):
        now[0] = 100.0 + seconds
        reporter.progress(step, 6, {"loss": 0.5})
    assert lines.texts() == ["3 of 6, loss 0.5000", "5 of 6, loss 0.5000", "6 of 6, loss 0.5000"]
    assert [progress.done for progress in shown] == [1, 2, 3, 4, 5, 6]
    assert [vars(record)["progress"] for record in bar.records] == shown
    assert [vars(record)["progress"].done for record in lines.records] == [3, 5, 6]


def test_a_mark_is_on_every_line_and_every_progress_after_it(lines: Kept, bar: Kept) -> None:
    shown: list[Progress] = []
    reporter = LogReporter("train", on_progress=shown.append)
    reporter.log("before")
    reporter.mark("emulated")
    reporter.log("hot", "warning")
    reporter.progress(6, 6, {"loss": 0.5})
    assert lines.texts() == ["before", "emulated: hot", "emulated: 6 of 6, loss 0.5000"]
    assert bar.texts() == [str(shown[0])] == ["emulated: 6 of 6, loss 0.5000"]
    assert shown[0].short == "6/6  loss 0.500  emulated"


def test_progress_passes_nothing_on_to_the_log(bar: Kept) -> None:
    above = logging.getLogger("podsquad")
    handler = Kept()
    above.addHandler(handler)
    try:
        LogReporter("train").progress(1, 6)
    finally:
        above.removeHandler(handler)
    assert bar.texts() == ["1 of 6"]
    assert handler.records == []


def test_a_figure_may_change_after_it_was_told(bar: Kept) -> None:
    figures = {"loss": 1.0}
    LogReporter("train").progress(1, 6, figures)
    figures["loss"] = 2.0
    assert vars(bar.records[0])["progress"].figures == {"loss": 1.0}
