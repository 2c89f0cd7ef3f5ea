"""Pictures as SVG: well-formed, small, and true to the numbers."""

from __future__ import annotations

import base64
import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

import pytest

from podsquad.charts import data_uri, draw_loss, draw_nights, draw_slices

SVG = "{http://www.w3.org/2000/svg}"


def lines_of(svg: str) -> list[list[tuple[float, float]]]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.attrib["points"].split())] for line in found]


def texts_of(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def slices(**f1: float) -> dict[str, Any]:
    return {
        "question_word": {name: {"num_questions": 5, "exact_match": 1.0, "f1": value} for name, value in f1.items()}
    }


def test_the_loss_falls_from_left_to_right() -> None:
    losses = [4.0 * math.exp(-step / 50) for step in range(100)]
    each, mean = lines_of(draw_loss(losses))
    assert len(each) == len(mean) == 100
    for line in (each, mean):
        assert all(before[0] < after[0] for before, after in pairwise(line))
        assert all(before[1] <= after[1] for before, after in pairwise(line))
    assert each[0][1] == pytest.approx(44)  # the scale ends at 4, the largest loss
    assert {"0", "50", "100", "4", "optimizer step"} <= set(texts_of(draw_loss(losses)))


@pytest.mark.parametrize("number", [1, 2, 239, 240, 241, 100_000], ids=str)
def test_however_long_a_training_is_its_picture_is_small(number: int) -> None:
    svg = draw_loss([1.0 + step % 7 for step in range(number)])
    each, _ = lines_of(svg)
    assert each[-1][0] == pytest.approx(704, abs=0.1)  # the last step is at the right edge
    assert len(each) <= 241
    assert len(data_uri(svg)) < 12_000


@pytest.mark.parametrize("losses", [[], [0.0], [0.0, 0.0]], ids=str)
def test_no_loss_is_drawn_too(losses: list[float]) -> None:
    assert len(lines_of(draw_loss(losses))) == 2


def test_bars_are_as_long_as_the_scores_say() -> None:
    svg = draw_slices(slices(who=50.0, when=100.0, **{"<why>": 3.0}), 60.0)
    widths = [each.attrib["width"] for each in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    assert widths == ["100%", "496", "248.0", "496", "496.0", "496", "14.9"]
    assert {"who (5)", "<why> (5)", "50.0", "Question word", "F1 in percent; dashed: all questions (60.0)"} <= set(
        texts_of(svg)
    )


@pytest.mark.parametrize(
    ("f1", "least"), [([97.5, 96.0], 95.0), ([97.5, 60.0], 50.0), ([3.0, 88.0], 0.0), ([], 0.0)], ids=str
)
def test_nights_stand_where_their_scores_are(f1: list[float], least: float) -> None:
    svg = draw_nights(f1, [True, False][: len(f1)])
    circles = [each.attrib for each in ElementTree.fromstring(svg).iter(f"{SVG}circle")]
    heights = [44 + 186 * (100 - value) / (100 - least) for value in f1]
    assert [float(each["cy"]) for each in circles] == pytest.approx(heights, abs=0.1)
    assert [each["fill"] == "white" for each in circles] == [False, True][: len(f1)]
    assert {f"{least:g}", "100", "oldest to newest"} <= set(texts_of(svg))
    (line,) = lines_of(svg) if f1 else [[]]
    assert [x for x, _ in line] == sorted(x for x, _ in line)


def test_an_address_holds_the_whole_picture() -> None:
    svg = draw_slices({}, 0.0)
    kind, _, content = data_uri(svg).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content).decode() == svg
