"""The span search against a restatement of run_qa.py: equal n-best lists, ties and empty cases included."""

from __future__ import annotations

import numpy as np
import pytest

from podsquad.data.arrow import Ragged
from podsquad.errors import DataError, InternalError
from podsquad.evaluation import answers as module
from podsquad.evaluation.answers import Answers, find_answers
from tests.evaluation.run_qa_peer_answers import search_spans
from tests.evaluation.windows import FakeWindows, make_logits, make_windows


def split_rows(windows: FakeWindows, flat: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, windows.input_ids.offsets[1:-1])


def compare(
    windows: FakeWindows,
    contexts: list[str],
    starts: np.ndarray,
    ends: np.ndarray,
    num_best: int,
    max_answer_tokens: int,
) -> Answers:
    """Hold every answer, its characters, scores and probabilities against the peer."""
    mine = find_answers(windows, contexts, starts, ends, num_best=num_best, max_answer_tokens=max_answer_tokens)
    peer = search_spans(
        contexts,
        windows.windows_of_question(len(contexts)),
        split_rows(windows, starts),
        split_rows(windows, ends),
        windows.offset_mappings(),
        num_best,
        max_answer_tokens,
        stable=True,
    )
    for row, theirs in enumerate(peer):
        found = int(mine.num_found[row])
        assert mine.texts[row] == theirs[0]["text"]
        assert mine.best_probabilities[row] == pytest.approx(theirs[0]["probability"], rel=1e-5, abs=1e-7)
        spans = [one for one in theirs if one["offsets"] is not None]
        assert found == len(spans)
        pairs = list(zip(mine.char_starts[row].tolist(), mine.char_ends[row].tolist(), strict=True))
        assert pairs[:found] == [one["offsets"] for one in spans]
        assert mine.scores[row, :found].tolist() == [float(one["score"]) for one in spans]
        if len(spans) == len(theirs):
            expected = [one["probability"] for one in theirs]
            np.testing.assert_allclose(mine.probabilities[row, :found], expected, rtol=1e-5, atol=1e-7)
        assert set(pairs[found:]) <= {(-1, -1)}
        assert not mine.probabilities[row, found:].any()
    return mine


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["distinct", "some-ties", "mostly-ties"])
@pytest.mark.parametrize(
    ("num_questions", "mean_context_tokens", "num_best", "max_answer_tokens"),
    [
        pytest.param(300, 150.0, 20, 30, id="as-squad"),
        pytest.param(120, 900.0, 20, 30, id="several-windows-each"),
        pytest.param(150, 500.0, 1, 30, id="one-best"),
        pytest.param(80, 4.0, 20, 30, id="fewer-tokens-than-best"),
        pytest.param(100, 150.0, 20, 1, id="one-token-answers"),
        pytest.param(10, 600.0, 300, 400, id="hundreds-of-best"),
    ],
)
def test_equal_to_run_qa(
    num_questions: int,
    mean_context_tokens: float,
    num_best: int,
    max_answer_tokens: int,
    decimals: int | None,
) -> None:
    windows, contexts = make_windows(
        num_questions, seed=num_questions, mean_context_tokens=mean_context_tokens, skip_share=0.03
    )
    starts = make_logits(windows, 1, decimals=decimals)
    ends = make_logits(windows, 2, decimals=decimals)
    answers = compare(windows, contexts, starts, ends, num_best, max_answer_tokens)
    assert answers.scores.shape == (num_questions, num_best)
    if mean_context_tokens > 400:
        assert np.bincount(windows.question_index).max() > 1


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_run_qa_on_logits_that_peak(seed: int) -> None:
    windows, contexts = make_windows(150, seed, mean_context_tokens=250.0)
    starts = make_logits(windows, seed, peaks=True)
    ends = make_logits(windows, seed + 100, peaks=True, like=starts)
    answers = compare(windows, contexts, starts, ends, 20, 30)
    assert int(answers.num_found.min()) > 1


@pytest.mark.parametrize("cells", [1, 64, 2**22])
def test_the_block_size_changes_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, contexts = make_windows(60, 5, mean_context_tokens=200.0)
    starts, ends = make_logits(windows, 1, decimals=1), make_logits(windows, 2, decimals=1)
    expected = find_answers(windows, contexts, starts, ends, num_best=20, max_answer_tokens=30)
    monkeypatch.setattr(module, "_BLOCK_CELLS", cells)
    got = find_answers(windows, contexts, starts, ends, num_best=20, max_answer_tokens=30)
    assert got.texts == expected.texts
    np.testing.assert_array_equal(got.scores, expected.scores)
    np.testing.assert_array_equal(got.char_starts, expected.char_starts)


def one_window(context_length: int, starts: list[float], ends: list[float]) -> FakeWindows:
    """A window of three tokens before the context and one after it; each context token has one character."""
    length = context_length + 4
    assert len(starts) == len(ends) == length
    places = np.arange(context_length, dtype=np.int32)

    def row(values: np.ndarray) -> Ragged:
        return Ragged(values, np.array([0, len(values)]))

    return FakeWindows(
        np.zeros(1, np.int32),
        np.full(1, 3, np.int16),
        np.full(1, context_length, np.int16),
        row(np.zeros(length, np.int32)),
        row(places),
        row(places + 1),
    )


def flat(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def test_tokens_outside_the_context_use_up_places() -> None:
    # The two best starts are in the question: with two places nothing is left, with three the context's turn
    # comes.
    starts, ends = [9.0, 8.0, 0.0, 1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 5.0, 4.0, 0.0]
    windows = one_window(3, starts, ends)
    found = compare(windows, ["abc"], flat(starts), flat(ends), 2, 30)
    assert (found.texts, found.num_found.tolist()) == (["empty"], [0])
    assert found.best_probabilities.tolist() == [1.0]
    assert compare(windows, ["abc"], flat(starts), flat(ends), 3, 30).texts == ["ab"]


def test_among_equal_logits_the_later_token_and_the_earlier_pair_win() -> None:
    windows = one_window(3, [0.0] * 7, [0.0] * 7)
    answers = compare(windows, ["abc"], flat([0.0] * 7), flat([0.0] * 7), 20, 30)
    assert answers.texts == ["c"]


def test_minus_zero_equals_zero() -> None:
    starts = [0.0, 0.0, 0.0, -0.0, 0.0, -0.0, 0.0]
    compare(one_window(3, starts, starts), ["abc"], flat(starts), flat(starts), 20, 30)


def test_a_single_span_with_an_empty_text_is_answered_empty() -> None:
    starts, ends = [0.0, 0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 2.0, 0.0]
    # The context is shorter than the token claims: run_qa.py slices all the same.
    answers = compare(one_window(1, starts, ends), [""], flat(starts), flat(ends), 20, 30)
    assert answers.texts == ["empty"]
    assert answers.best_probabilities[0] == pytest.approx(1 / (1 + np.exp(5.0)))


def test_extreme_logits_do_not_overflow() -> None:
    starts = [0.0, 0.0, 0.0, 4e37, -4e37, 1e-45, 0.0]
    ends = [0.0, 0.0, 0.0, 4e37, -4e37, 2.0, 0.0]
    compare(one_window(3, starts, ends), ["abc"], flat(starts), flat(ends), 20, 30)


def test_questions_without_windows_and_no_questions_at_all() -> None:
    windows, contexts = make_windows(3, 1, skip_share=1.0)
    nothing = np.zeros(0, np.float32)
    found = find_answers(windows, contexts, nothing, nothing, num_best=20, max_answer_tokens=30)
    assert found.texts == ["empty"] * 3
    assert len(find_answers(windows, [], nothing, nothing, num_best=20, max_answer_tokens=30)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda x: x[:-1], "not float32 of", id="too-short"),
        pytest.param(lambda x: x.astype(np.float64), "are float64", id="float64"),
        pytest.param(lambda x: np.where(np.arange(len(x)) == 5, np.nan, x), "first at token 5", id="nan"),
        pytest.param(lambda x: np.where(np.arange(len(x)) < 2, np.inf, x), "2 of", id="infinite"),
    ],
)
def test_broken_logits_are_refused(change: object, message: str) -> None:
    windows, contexts = make_windows(4, 1)
    logits = make_logits(windows, 1)
    broken = change(logits)  # type: ignore[operator]
    for pair in ((broken, logits), (logits, broken)):
        with pytest.raises(InternalError, match=message):
            find_answers(windows, contexts, *pair, num_best=20, max_answer_tokens=30)


def test_features_of_another_dataset_are_refused() -> None:
    windows, contexts = make_windows(4, 1)
    logits = make_logits(windows, 1)
    with pytest.raises(DataError, match="belong to different runs"):
        find_answers(windows, contexts[:-1], logits, logits, num_best=20, max_answer_tokens=30)
