"""The number of inputs that is claimed is the number that is made."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.hostile import budget
from tests.hostile.budget import AT_LEAST, INPUTS, OF_A_RUN, hostile


def test_ten_thousand_inputs_are_made_for_a_run_s_own_readers() -> None:
    assert sum(OF_A_RUN.values()) >= AT_LEAST == 10_000
    assert OF_A_RUN.items() <= INPUTS.items()


def test_each_reader_has_a_test_that_counts_its_inputs() -> None:
    folder = Path(__file__).parent
    paths = [path for path in sorted(folder.glob("test_*.py")) if path != Path(__file__)]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert sorted(re.findall(r'@hostile\(\s*"([^"]+)"', sources)) == sorted(INPUTS)


def test_too_few_inputs_fail_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INPUTS, "coin", 100)

    @hostile("coin", side=st.booleans())
    def toss(side: bool) -> None:
        pass

    with pytest.raises(AssertionError, match="only 2 inputs were made for coin"):
        toss()


def test_an_input_that_takes_too_long_fails_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INPUTS, "slow", 1)
    monkeypatch.setattr(budget, "INPUT_SECONDS", 0.0)

    @hostile("slow", side=st.booleans())
    def wait(side: bool) -> None:
        pass

    with pytest.raises(AssertionError):
        wait()


def test_a_number_that_somebody_else_draws_fails_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a thread does that an earlier test left behind, in the middle of a draw."""
    monkeypatch.setitem(INPUTS, "disturbed", 1)

    @hostile("disturbed", number=st.integers().map(lambda number: number + bool(random.random())))
    def look(number: int) -> None:
        pass

    look()
