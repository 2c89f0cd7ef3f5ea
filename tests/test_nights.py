"""All nights in one place: the profile's own, the newest first, and what became of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podsquad.history import PastRun
from podsquad.nights import MOST_NIGHTS, nights_view
from tests.test_views import PICTURE, rows_of

NIGHT = datetime(2026, 11, 24, 3, 10, tzinfo=UTC)


def past(days_ago: int = 0, profile: str = "demo", **changed: Any) -> PastRun:
    values: dict[str, Any] = {
        "when": NIGHT - timedelta(days=days_ago),
        "profile": profile,
        "exact_match": 79.0,
        "f1": 84.0,
        "num_questions": 1200,
        "steps": 282,
        "seconds": 61.4,
        "is_emulated": False,
        "verdict": "promoted",
        "cause": "",
        "place": "/p/demo-reader",
        "tag": "v-abc",
        "publication": "/p/demo-reader/versions/abc",
        "is_current": False,
        "withdrawn": "",
        "evaluation": "d",
        "evaluation_path": "/e",
        "slices": {},
    }
    return PastRun(**(values | changed))


def test_each_night_is_a_row_with_scores_verdict_and_version() -> None:
    view = nights_view("demo", [past(is_current=True, f1=85.5), past(1)])
    assert (view.name, view.title) == ("nights", "2 nights, best F1 85.50")
    columns, *rows = rows_of(view.markdown)
    assert columns == ["UTC", "exact match", "F1", "questions", "steps", "training", "verdict", "version"]
    assert rows == [
        ["2026-11-24 03:10", "79.00", "**85.50**", "1,200", "282", "61 s", "promoted", "`v-abc`, **published now**"],
        ["2026-11-23 03:10", "79.00", "**84.00**", "1,200", "282", "61 s", "promoted", "`v-abc`"],
    ]
    assert len(PICTURE.findall(view.markdown)) == 1


@pytest.mark.parametrize(
    ("changed", "cells"),
    [
        ({"verdict": "rejected", "cause": "slice_fell", "tag": ""}, ["rejected (slice fell)", "-"]),
        ({"verdict": "", "tag": ""}, ["not asked", "-"]),
        ({"withdrawn": "wrong | data"}, ["promoted", r"`v-abc`, withdrawn: wrong \| data"]),
    ],
    ids=["rejected", "not published", "withdrawn"],
)
def test_what_became_of_a_night(changed: dict[str, Any], cells: list[str]) -> None:
    assert rows_of(nights_view("demo", [past(**changed)]).markdown)[1][-2:] == cells


def test_a_training_that_left_no_record_has_no_figures() -> None:
    assert rows_of(nights_view("demo", [past(steps=None, seconds=None)]).markdown)[1][4:6] == ["-", "-"]


@pytest.mark.parametrize(("seconds", "told"), [(61.4, "61 s emulated"), (None, "emulated")], ids=["seconds", "none"])
def test_a_training_over_the_emulation_says_so(seconds: float | None, told: str) -> None:
    assert rows_of(nights_view("demo", [past(seconds=seconds, is_emulated=True)]).markdown)[1][5] == told


def test_other_profiles_have_a_series_of_their_own() -> None:
    view = nights_view("demo", [past(profile="gpu", f1=99.0), past(1)])
    assert view.title == "1 night, best F1 84.00"
    assert len(rows_of(view.markdown)) == 2


def test_without_a_night_there_is_no_picture() -> None:
    view = nights_view("demo", [])
    assert view.title == "0 nights, best F1 0.00"
    assert not PICTURE.search(view.markdown)


def test_the_newest_are_shown_and_the_number_of_all_is_told() -> None:
    view = nights_view("demo", [past(day) for day in range(MOST_NIGHTS + 5)])
    assert len(rows_of(view.markdown)) == MOST_NIGHTS + 1
    assert f"The newest {MOST_NIGHTS} of {MOST_NIGHTS + 5}." in view.markdown
    assert len(view.markdown) < 20_000
