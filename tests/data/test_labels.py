"""Labels of windows against loops over their tokens."""

from __future__ import annotations

import numpy as np
import pytest

from podsquad.data.labels import label_windows
from podsquad.data.windows import offsets_of


def by_loops(starts: list[int], ends: list[int], first_char: int, end_char: int) -> tuple[bool, int, int]:
    if not starts or starts[0] > first_char or ends[-1] < end_char:
        return False, 0, 0
    start = max(place for place in range(len(starts)) if all(one <= first_char for one in starts[: place + 1]))
    end = min(place for place in range(len(ends)) if all(one >= end_char for one in ends[place:]))
    return True, start, end


@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "out-of-order"])
def test_labels_are_those_of_the_loops(shuffled: bool) -> None:
    dice = np.random.default_rng(11)
    lengths = dice.integers(0, 30, 500)
    offsets = offsets_of(lengths)
    starts, ends, answers = [], [], []
    for length in lengths.tolist():
        # Tokens of 0 to 3 characters with gaps; several may share a character.
        begin = np.sort(dice.integers(0, 60, length))
        if shuffled and length > 3 and dice.random() < 0.5:
            swap = dice.integers(0, length - 1)
            begin[[swap, swap + 1]] = begin[[swap + 1, swap]]
        starts.append(begin)
        ends.append(begin + dice.integers(0, 4, length) if shuffled else np.maximum.accumulate(begin + 2))
        first = int(dice.integers(0, 60))
        answers.append((first, first + int(dice.integers(1, 15))))
    wanted = np.array(answers)
    labels = label_windows(
        np.concatenate(starts).astype(np.int32),
        np.concatenate(ends).astype(np.int32),
        offsets,
        wanted[:, 0],
        wanted[:, 1],
    )
    expected = [
        by_loops(begin.tolist(), end.tolist(), *answer)
        for begin, end, answer in zip(starts, ends, answers, strict=True)
    ]
    assert labels.holds.tolist() == [holds for holds, _, _ in expected]
    held = np.flatnonzero(labels.holds)
    assert 50 < len(held) < len(lengths)
    assert labels.start[held].tolist() == [start for holds, start, _ in expected if holds]
    assert labels.end[held].tolist() == [end for holds, _, end in expected if holds]
    assert labels.starts_in_last.tolist() == [
        holds and start == length - 1 for (holds, start, _), length in zip(expected, lengths.tolist(), strict=True)
    ]
    assert labels.starts_in_last.any()


def test_a_character_split_over_tokens_belongs_to_all_of_them() -> None:
    # "a", then one character in three tokens, then "b": the answer is that character.
    starts, ends = np.array([0, 1, 1, 1, 2], np.int32), np.array([1, 2, 2, 2, 3], np.int32)
    labels = label_windows(starts, ends, np.array([0, 5]), np.array([1]), np.array([2]))
    # run_qa.py: the last token that starts there, the first that ends there.
    assert (labels.start.tolist(), labels.end.tolist()) == ([3], [1])


def test_a_question_without_answer_is_in_no_window() -> None:
    one = np.array([0], np.int32)
    assert not label_windows(one, one + 5, np.array([0, 1]), np.array([-1]), np.array([-1])).holds.any()


def test_no_windows_give_no_labels() -> None:
    none = np.zeros(0, np.int32)
    assert (
        len(label_windows(none, none, np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)).holds) == 0
    )
