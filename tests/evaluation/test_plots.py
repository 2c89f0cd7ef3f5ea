"""The pictures: whole PNGs, equal bytes for equal numbers, whatever the surroundings."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib as mpl
import pytest

from podsquad.errors import DataError
from podsquad.evaluation.plots import plot_loss, plot_slices


def history(steps: int) -> list[dict[str, Any]]:
    return [{"step": n + 1, "loss": 5.0 / (n + 1), "learning_rate": 1e-4 * n} for n in range(steps)]


SLICES = {
    "question_word": {
        "what": {"num_questions": 3, "f1": 50.0, "exact_match": 40.0},
        "why": {"num_questions": 1, "f1": 0.0, "exact_match": 0.0},
    }
}


def chunks(png: bytes) -> dict[bytes, bytes]:
    """Return the PNG's chunks by kind, their checksums verified."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, place = {}, 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert zlib.crc32(kind + body) == checksum
        found[kind] = body
        place += 12 + length
    return found


@pytest.mark.parametrize("steps", [1, 2, 60, 1000])
def test_the_loss_is_drawn_for_any_number_of_steps(steps: int) -> None:
    parts = chunks(plot_loss(history(steps)))
    assert struct.unpack(">II", parts[b"IHDR"][:8]) == (1200, 690)
    assert b"tEXt" not in parts
    assert b"tIME" not in parts


def test_slices_are_drawn() -> None:
    assert struct.unpack(">I", chunks(plot_slices(SLICES, 42.0))[b"IHDR"][:4]) == (1200,)


def test_equal_numbers_give_equal_bytes_under_any_style_and_from_threads() -> None:
    expected = plot_loss(history(60)), plot_slices(SLICES, 42.0)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        before = dict(mpl.rcParams)
        with ThreadPoolExecutor(4) as pool:
            losses = [pool.submit(plot_loss, history(60)) for _ in range(4)]
            slices = [pool.submit(plot_slices, SLICES, 42.0) for _ in range(4)]
            assert {future.result() for future in losses} == {expected[0]}
            assert {future.result() for future in slices} == {expected[1]}
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "entries",
    [[], [{"step": 1}], [{"step": 1, "loss": None, "learning_rate": 0}]],
    ids=["empty", "no-loss", "null-loss"],
)
def test_a_history_that_cannot_be_drawn_is_refused(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="loss history"):
        plot_loss(entries)


def test_no_slices_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="no slices"):
        plot_slices({}, 0.0)
