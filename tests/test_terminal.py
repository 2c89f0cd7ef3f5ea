"""What people see."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console

from podsquad.errors import DataError
from podsquad.reporting import PROGRESS_LOGGER, LogReporter, Progress
from podsquad.terminal import TerminalHandler, error_json, print_error, print_json, print_table, told_on_terminal


def record(name: str, message: str, level: int = logging.INFO, progress: Progress | None = None) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "", 0, "%s", (message,), None)
    if progress:
        made.progress = progress
    return made


def handler(is_terminal: bool) -> tuple[TerminalHandler, io.StringIO]:
    stream = io.StringIO()
    return TerminalHandler(Console(file=stream, force_terminal=is_terminal, width=100, color_system=None)), stream


def test_lines_begin_with_their_stage_once() -> None:
    shown, stream = handler(False)
    shown.emit(record("podsquad.train", "train runs: nothing made yet"))
    shown.emit(record("podsquad.train", "[bold]5 of :key: %s[/] " + "x" * 200, logging.WARNING))
    shown.close()
    assert stream.getvalue() == f"train runs: nothing made yet\ntrain     [bold]5 of :key: %s[/] {'x' * 200}\n"


def test_progress_is_a_line_where_there_is_no_terminal() -> None:
    shown, stream = handler(False)
    progress = Progress("train", 5, 9)
    shown.emit(record(PROGRESS_LOGGER, "5 of 9", progress=progress))
    assert stream.getvalue() == ""
    shown.emit(record("podsquad.train", "5 of 9", progress=progress))
    shown.close()
    assert stream.getvalue() == "train     5 of 9\n"


def test_progress_is_a_bar_on_a_terminal() -> None:
    shown, stream = handler(True)
    for stage, done in (("tokenize", 1), ("tokenize", 9), ("train", 1), ("train", 5), ("evaluate", 2)):
        progress = Progress(stage, done, 9)
        shown.emit(record(PROGRESS_LOGGER, "", progress=progress))
        shown.emit(record(f"podsquad.{stage}", str(progress), progress=progress))
    assert len(shown._bar.tasks) == 1
    assert shown._bar.tasks[0].description == "evaluate"
    assert shown._bar.tasks[0].completed == 2
    shown.close()
    assert not shown._bar.live.is_started
    assert "train" in stream.getvalue()
    assert "train     5 of 9\n" not in stream.getvalue()


def test_the_bar_and_its_figures_fit_a_narrow_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None)
    shown = TerminalHandler(console)
    figures = {"loss": 2.5, "learning_rate": 1e-3, "samples_per_second": 120.0, "seconds_left": 38.0}
    shown.emit(record(PROGRESS_LOGGER, "", progress=Progress("evaluate", 1500, 2820, figures)))
    shown.close()
    line = next(line for line in stream.getvalue().split("\r") if "1,500" in line)
    assert "1,500/2,820  loss 2.500  120/s  38 s" in line
    assert line.count("━") == 12  # half of the bar; without colours the rest is blank


def test_the_last_figures_stay_on_a_terminal() -> None:
    shown, stream = handler(True)
    for done in (5, 10):
        progress = Progress("train", done, 10, {"loss": 1.0})
        shown.emit(record("podsquad.train", str(progress), progress=progress))
    shown.close()
    assert stream.getvalue().split() == ["train", "10", "of", "10,", "loss", "1.0000"]


def test_a_record_that_cannot_be_shown_stops_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, _ = handler(False)
    shown.emit(logging.LogRecord("podsquad.train", logging.INFO, "", 0, "%d", ("no number",), None))
    assert "--- Logging error ---" in capsys.readouterr().err


def test_the_log_is_told_on_standard_error_while_the_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    logger, bar = logging.getLogger("podsquad"), logging.getLogger(PROGRESS_LOGGER)
    before = [(each.level, each.propagate, list(each.handlers)) for each in (logger, bar)]
    with told_on_terminal():
        LogReporter("train").log("told")
        LogReporter("train").log("hot", "warning")
        LogReporter("train").log("detail", "debug")
    LogReporter("train").log("afterwards")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "train     told\ntrain     hot\n")
    bar.propagate = before[1][1]  # a LogReporter takes it out of the log for good
    assert [(each.level, each.propagate, list(each.handlers)) for each in (logger, bar)] == before


def test_a_table_for_a_pipe_is_as_wide_as_it_needs_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("stage", "n", "path"), [("train", "5", "/" + "x" * 300), ("[b]:key:", "10", "")], right=("n",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["stage      n  path", f"train      5  /{'x' * 300}", "[b]:key:  10"]


def test_json_is_one_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": "é", "a": None})
    out = capsys.readouterr().out
    assert json.loads(out) == {"b": "é", "a": None}
    assert "é" in out
    stream = io.StringIO()
    print_json({"x": 1}, stream)
    assert json.loads(stream.getvalue()) == {"x": 1}


def test_an_error_is_told_in_three_parts_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(DataError("no [b]JSON[/b] " + "x" * 200, why="cut :key:", do="get it again"))
    print_error(DataError("only this"))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (f"error: no [b]JSON[/b] {'x' * 200}\n  why: cut :key:\n  do:  get it again\nerror: only this\n")


def test_an_error_as_json() -> None:
    assert error_json(DataError("what", why="why", do="do")) == {
        "error": {"kind": "DataError", "what": "what", "why": "why", "do": "do"},
        "exit_code": 65,
    }
