"""What a night shows on its page and in its log, whatever it came to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import StoreError
from tests.flows.night import AFTER_TRAINING, Night, failing


def test_the_page_of_a_run_shows_what_it_does_and_made(night: Night) -> None:
    night.submit(changes={"learning_rate": 0.005}, note="a try")
    run, shown = night.page()
    assert re.fullmatch(r"demo \d{4}-\d\d-\d\d \d\d:\d\d", run.name)
    assert "demo" in run.tags
    assert set(shown) == {f"demo-{name}" for name in ("plan", "data", "training", *AFTER_TRAINING)}
    assert {"demo", "verdict:first"} <= set(run.tags)
    assert run.state.message == "First: There is no champion yet. Exact match 75.00, F1 87.50."
    assert shown["demo-nights"].description == "1 night, best F1 87.50"
    assert shown["demo-verdict"].description == "First"
    assert shown["demo-plan"].description == "6 of 6 stages run"
    assert "> a try" in shown["demo-plan"].data
    assert "20 questions kept" in shown["demo-data"].description
    assert "data:image/svg+xml;base64," in shown["demo-training"].data
    assert "No champion" in shown["demo-scores"].data
    assert str(night.root / "published") in shown["demo-publication"].data


def test_a_run_that_reuses_everything_shows_the_same(night: Night) -> None:
    night.run()
    _, first = night.page()
    report = night.run()
    run, second = night.page()
    assert second["demo-plan"].description == "Nothing is new: every stage is reused"
    for key in first.keys() - {"demo-plan", "demo-verdict", "demo-publication"}:  # the nights', too: nothing new
        assert second[key].data == first[key].data
    assert second["demo-verdict"].description == "Unchanged"
    assert "verdict:unchanged" in run.tags
    assert report["verdict"]["verdict"] == "unchanged"
    assert not report["is_published"]


def test_what_an_emulation_had_part_in_says_so_wherever_it_is_told(
    night: Night, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.night.mark_of", lambda settings, stage: "emulated" if stage == "train" else "")
    night.training["emulated"] = True
    night.run()
    night.run()
    run, shown = night.page()
    assert run.state.message.startswith("Emulated. Unchanged: ")
    assert shown["demo-scores"].data.startswith("**Emulated**")
    assert "emulated: train is reused: unchanged" in caplog.messages
    assert "download is reused: unchanged" in caplog.messages


def test_scores_stand_beside_those_of_what_is_published(night: Night) -> None:
    report = night.run()
    night.run(training__seed=5)
    assert Path(report["publication"]).name in night.page()[1]["demo-scores"].data


@pytest.mark.parametrize("error", [StoreError("no place", why="a file is there", do="remove it")], ids=repr)
def test_a_foreseen_error_stands_in_the_log_once_and_without_a_traceback(
    night: Night, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failing(night, "train", error)
    with pytest.raises(type(error)):
        night.run()
    told = [record for record in caplog.records if record.name == "prefect.flow_runs" and record.levelname == "ERROR"]
    assert next(record.getMessage() for record in told) == "StoreError: no place\nWhy: a file is there\nDo: remove it"
    assert [record for record in told if record.exc_info] == []


def test_a_bug_s_error_keeps_its_traceback(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    failing(night, "train", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        night.run()
    assert [record.name for record in caplog.records if record.exc_info][-1:] == ["prefect.flow_runs"]


def test_a_view_that_cannot_be_made_does_not_stop_the_run(
    night: Night, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("a bug in a view")

    monkeypatch.setattr("podsquad.views.draw_loss", broken)
    night.run()
    assert set(night.page()[1]) == {f"demo-{name}" for name in ("plan", "data", *AFTER_TRAINING)}
    assert "a part of the run's page is left out: ZeroDivisionError: a bug in a view" in caplog.text


def test_a_plan_that_cannot_be_made_does_not_stop_the_run(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tasks.night.make_plan", broken)
    assert night.run()["is_published"]
    assert "demo-plan" not in night.page()[1]
