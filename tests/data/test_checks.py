"""The checks of every record: each reason, and when a split is refused."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from podsquad.data.checks import REASONS, CheckedSplit, check_split, find_fault, refuse_bad_split, report
from podsquad.data.squad import Answer, Record
from podsquad.errors import DataError

GOOD = Record("q1", "Ada", "Ada wrote it in 1843.", "Who wrote it?", (Answer("Ada", 0),), "row 0")


def numbered(number: int, **changes: object) -> Record:
    return replace(GOOD, id=f"q{number}", where=f"row {number}", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(replace(GOOD, context="\ud800" + GOOD.context), "invalid_unicode", id="context"),
        pytest.param(replace(GOOD, title="a\udfff"), "invalid_unicode", id="title"),
        pytest.param(replace(GOOD, answers=(Answer("\ud801", 0),)), "invalid_unicode", id="answer"),
        pytest.param(replace(GOOD, id=""), "empty_id", id="no-id"),
        pytest.param(replace(GOOD, question=" \n"), "empty_question", id="no-question"),
        pytest.param(replace(GOOD, context=""), "empty_context", id="no-context"),
        pytest.param(replace(GOOD, answers=()), "no_answers", id="no-answers"),
        pytest.param(replace(GOOD, answers=(Answer("", 0),)), "empty_answer", id="empty-answer"),
        pytest.param(replace(GOOD, answers=(Answer("Ada", 1),)), "answer_not_at_offset", id="one-off"),
        pytest.param(replace(GOOD, answers=(Answer("1843.", -5),)), "answer_not_at_offset", id="negative"),
        pytest.param(replace(GOOD, answers=(Answer("Ada", 99),)), "answer_not_at_offset", id="past-the-end"),
        pytest.param(replace(GOOD, answers=(Answer("Ada", 2**40),)), "answer_not_at_offset", id="huge"),
        pytest.param(replace(GOOD, answers=(Answer("Ada", 0), Answer("1843", 0))), "answer_not_at_offset", id="second"),
    ],
)
def test_each_fault_has_its_reason(record: Record, reason: str) -> None:
    fault = find_fault(record)
    assert fault is not None
    assert fault[0] == reason in REASONS


def test_a_good_record_has_no_fault() -> None:
    assert find_fault(GOOD) is None
    # Characters beyond the basic plane count as one, as in Python and in SQuAD's offsets.
    assert find_fault(replace(GOOD, context="\U0001f600 Ada", answers=(Answer("Ada", 2),))) is None


def test_the_detail_says_where_the_answer_really_stands() -> None:
    fault = find_fault(replace(GOOD, answers=(Answer("1843", 15),)))
    assert fault is not None
    assert fault[1] == (
        "answer '1843' does not stand at character 15, where the context reads ' 184' (it first stands at 16)"
    )


def test_ids_are_unique_within_and_over_splits() -> None:
    seen: dict[str, str] = {}
    first = check_split("validation", [numbered(1), numbered(2), numbered(1)], seen)
    assert [bad.reason for bad in first.bad] == ["duplicate_id"]
    second = check_split("train", [numbered(2), numbered(3)], seen)
    assert [record.id for record in second.kept] == ["q3"]
    assert second.bad[0].detail == "its id also stands at validation row 2"


def test_a_bad_record_does_not_take_an_id_from_a_good_one() -> None:
    checked = check_split("train", [numbered(1, question=""), numbered(1)], {})
    assert [record.question for record in checked.kept] == [GOOD.question]


def split_of(num_good: int, num_bad: int) -> CheckedSplit:
    records = [numbered(n) for n in range(num_good)]
    records += [numbered(num_good + n, question="") for n in range(num_bad)]
    return check_split("train", records, {})


@pytest.mark.parametrize(
    ("num_good", "num_bad", "share"),
    [
        pytest.param(99, 1, 0.01, id="just-allowed"),
        pytest.param(10, 0, 0.0, id="none-bad"),
        pytest.param(1, 9, 1.0, id="anything-goes"),
    ],
)
def test_a_split_within_the_share_passes_and_just_above_it_does_not(num_good: int, num_bad: int, share: float) -> None:
    checked = split_of(num_good, num_bad)
    assert (len(checked.kept), len(checked.bad)) == (num_good, num_bad)
    refuse_bad_split(checked, share)  # raises nothing
    if num_bad:
        with pytest.raises(DataError):
            refuse_bad_split(checked, share - 1e-6 if share < 1 else num_bad / (num_good + num_bad) - 1e-6)


def test_a_bad_split_is_refused_with_counts_examples_and_a_way_out() -> None:
    with pytest.raises(DataError) as caught:
        refuse_bad_split(split_of(95, 5), 0.01)
    error = caught.value
    assert error.what == "5 of 100 records of the train split are bad (5.00%), more than the allowed 1.00%"
    assert error.why.startswith("5 x empty_question. First: row 95 (id 'q95'): its question is empty; ")
    assert error.why.count("its question is empty") == 3
    assert "--set data.max_bad_share=0.05" in error.do


def test_the_share_that_the_message_offers_is_enough() -> None:
    draw = random.Random(3)
    for _ in range(200):
        checked = split_of(draw.randint(1, 400), draw.randint(1, 50))
        with pytest.raises(DataError) as caught:
            refuse_bad_split(checked, 0.0)
        refuse_bad_split(checked, float(caught.value.do.split("=")[1]))


@pytest.mark.parametrize("num_bad", [0, 3], ids=["empty", "all-bad"])
def test_a_split_with_nothing_left_is_refused_at_any_share(num_bad: int) -> None:
    with pytest.raises(DataError) as caught:
        refuse_bad_split(split_of(0, num_bad), 1.0)
    assert "max_bad_share" not in caught.value.do


def test_the_report_counts_and_measures() -> None:
    train = check_split("train", [numbered(1), numbered(2), numbered(3, question="")], {})
    validation = check_split("validation", [numbered(4)], {})
    summary = report([train, validation], 0.5)
    counts = summary["splits"]["train"]
    assert (counts["records"], counts["kept"], counts["quarantined"]) == (3, 2, 1)
    assert counts["reasons"] == {"empty_question": 1}
    assert counts["contexts"] == 1
    assert counts["answer_words"] == {"min": 1, "mean": 1.0, "p50": 1, "p95": 1, "max": 1}
    assert summary["contexts_in_several_splits"] == 1
    json.dumps(summary, allow_nan=False)


def test_the_report_of_a_split_without_rows_is_finite() -> None:
    json.dumps(report([check_split("train", [], {})], 0.0), allow_nan=False)
