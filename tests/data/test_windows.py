"""Windows against the truncation of the tokenizers library."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from podsquad.data.windows import (
    count_windows,
    offsets_of,
    place_windows,
    ragged_arange,
    ragged_indices,
    without_room,
)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.fixture(scope="module")
def counter() -> Tokenizer:
    """A tokenizer whose token ids are the words' own numbers."""
    backend = Tokenizer(models.WordLevel({str(number): number for number in range(400)}, unk_token="0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def test_windows_are_those_of_the_library(counter: Tokenizer) -> None:
    dice = np.random.default_rng(5)
    cases = [(1, 1, 0), (10, 10, 3), (11, 10, 3), (17, 10, 3), (18, 10, 3), (10, 10, 9), (30, 10, 9)]
    cases += [
        (int(dice.integers(1, 400)), room, int(dice.integers(0, room))) for room in dice.integers(1, 60, 200).tolist()
    ]
    for length, room, stride in cases:
        encoding = counter.encode(" ".join(map(str, range(length))))
        encoding.truncate(room, stride=stride)
        expected = [(part.ids[0], len(part.ids)) for part in (encoding, *encoding.overflowing)]
        windows = place_windows(numbers(length), numbers(room), stride)
        assert list(zip(windows.first.tolist(), windows.length.tolist(), strict=True)) == expected, (
            length,
            room,
            stride,
        )
        assert count_windows(numbers(length), numbers(room), stride).tolist() == [len(windows)] == [len(expected)]


def test_windows_of_many_questions_follow_one_another() -> None:
    windows = place_windows(numbers(5, 0, 25), numbers(10, 10, 10), 4)
    assert windows.question.tolist() == [0, 1, 2, 2, 2, 2]
    assert windows.first.tolist() == [0, 0, 0, 6, 12, 18]
    assert windows.length.tolist() == [5, 0, 10, 10, 10, 7]


def test_no_questions_give_no_windows() -> None:
    assert len(place_windows(numbers(), numbers(), 4)) == 0


@pytest.mark.parametrize(
    ("length", "room", "refused"),
    [(10, 10, False), (11, 10, False), (11, 4, True), (11, 5, False), (4, 4, False), (0, 0, False), (0, -1, True)],
    ids=["fits", "advances", "stuck", "one-by-one", "fits-exactly", "nothing-in-nothing", "question-alone-too-long"],
)
def test_questions_without_room(length: int, room: int, refused: bool) -> None:
    assert without_room(numbers(length), numbers(room), 4).tolist() == [0] * refused


def test_room_of_nothing_is_refused_without_a_stride() -> None:
    assert without_room(numbers(3, 3), numbers(0, 1), 0).tolist() == [0]


def test_ragged_indices_gather_slices() -> None:
    assert ragged_arange(numbers(2, 0, 3)).tolist() == [0, 1, 0, 1, 2]
    assert ragged_indices(numbers(7, 1, 4), numbers(2, 0, 3)).tolist() == [7, 8, 4, 5, 6]
    assert offsets_of(numbers(2, 0, 3)).tolist() == [0, 2, 2, 5]
    assert ragged_indices(numbers(), numbers()).tolist() == ragged_arange(numbers()).tolist() == []
