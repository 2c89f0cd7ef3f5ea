"""The paired bootstrap by article: examples done by hand, equality with loops, and how often its bounds are right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from podsquad.evaluation import bootstrap
from podsquad.evaluation.bootstrap import Resampled, draw_articles, resample_by_article
from tests.evaluation.made_up_scores import make_scores, sizes_like_squad


def resample(
    differences: list[float] | np.ndarray, articles: list[int] | np.ndarray, resamples: int = 2000, seed: int = 1
) -> Resampled:
    values, places = np.asarray(differences, np.float64), np.asarray(articles, np.int64)
    members = np.ones((1, len(values)), np.bool_)
    return resample_by_article(values, places, members, resamples=resamples, seed=seed)[0]


def made_up(*absolute_t: float, difference: float = 1.0, standard_error: float = 0.5) -> Resampled:
    return Resampled(difference, standard_error, 10, 5, np.array(absolute_t))


def test_difference_and_standard_error_by_hand() -> None:
    # Articles of 2, 1 and 1 questions: sums 30, 20, -10 over 4 questions. Mean 10; excess 30 - 20, 20 - 10, -10 - 10.
    found = resample([10.0, 20.0, 20.0, -10.0], [0, 0, 1, 2])
    assert (found.num_questions, found.num_articles, found.difference) == (4, 3, 10.0)
    assert found.standard_error == pytest.approx(math.sqrt(3 / 2 * (10**2 + 10**2 + 20**2)) / 4, rel=1e-14)


def test_two_articles_by_hand() -> None:
    # One question each, differences 0 and 10. A resample holds an article twice (no spread: |t| infinite) or both
    # (no shift: |t| 0); each about half of the time.
    found = resample([0.0, 10.0], [0, 1])
    assert set(found.absolute_t.tolist()) == {0.0, math.inf}
    assert np.isinf(found.absolute_t).mean() == pytest.approx(0.5, abs=0.05)
    assert found.bounds(0.95) == (-100.0, 100.0)
    assert found.bounds(0.6) == (5.0, 5.0)


def test_bounds_are_order_statistics() -> None:
    # 9 resamples: both bounds of 80 % hold with 60 %, the 6th of 10 places.
    found = made_up(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert found.bounds(0.8) == pytest.approx((1.0 - 0.3, 1.0 + 0.3))
    assert found.bounds(0.95) == pytest.approx((1.0 - 0.45, 1.0 + 0.45))  # 90 %: the last
    assert found.bounds(0.96) == (-100.0, 100.0)  # beyond what 9 resamples can tell


def test_the_p_value_by_hand() -> None:
    found = made_up(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert found.probability_below(1.0 - 0.5 * 0.75) == pytest.approx(0.5 * 3 / 10)  # 0.8 and 0.9 lie beyond
    assert found.probability_below(1.0 + 0.5 * 0.75) == pytest.approx(1.0 - 0.5 * 3 / 10)
    assert found.probability_below(-5.0) == pytest.approx(0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_agrees_with_the_bound(seed: int) -> None:
    dice = np.random.default_rng(seed)
    found = resample(dice.normal(0, 10, 300), np.arange(300) % 30, resamples=999)
    for confidence in (0.6, 0.8, 0.9, 0.95, 0.99):
        lower, _ = found.bounds(confidence)
        assert found.probability_below(lower - 1e-9) <= 1.0 - confidence + 1e-12
        assert found.probability_below(lower + 1e-9) > 1.0 - confidence


def test_an_equal_model_passes_the_wider_the_margin_the_surer() -> None:
    found = made_up(*np.abs(np.random.default_rng(1).normal(size=9999)).tolist())
    found.absolute_t.sort()
    chances = [found.pass_probability(margin, 0.95) for margin in (0.0, 0.5, 1.0, 2.0, 100.0)]
    # With no margin it passes by luck alone; 1.645 standard errors of margin make it even.
    assert chances[0] == pytest.approx(0.05, abs=1e-3)
    assert chances == sorted(chances)
    assert found.pass_probability(0.5 * 1.645, 0.95) == pytest.approx(0.5, abs=0.03)
    assert chances[-2:] == [pytest.approx(0.99, abs=0.01), 1.0]


def test_one_article_tells_nothing() -> None:
    found = resample([1.0, 2.0, 3.0], [0, 0, 0])
    assert (found.difference, found.num_articles, found.bounds(0.6)) == (2.0, 1, (-100.0, 100.0))
    assert found.probability_below(-99.0) == 1.0
    assert (found.pass_probability(99.0, 0.95), found.pass_probability(100.0, 0.95)) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 0.1, -100 / 3])
def test_articles_that_differ_alike_have_no_spread(value: float) -> None:
    # 0.1 times 7, 1/3 times 3: sums that round must not pass for differences between articles.
    found = resample([value] * 60, np.repeat(np.arange(8), [7, 3, 11, 1, 13, 9, 5, 11]))
    assert found.standard_error == 0.0
    assert found.bounds(0.99) == (found.difference, found.difference)
    assert found.difference == pytest.approx(value, rel=1e-14)
    assert (found.probability_below(value - 1), found.probability_below(value + 1)) == (0.0, 1.0)
    assert found.pass_probability(0.0, 0.95) == 1.0


def test_differences_that_cancel_within_each_article_have_no_spread() -> None:
    found = resample([100 / 3, -20.0, -40 / 3] * 10, np.repeat(np.arange(10), 3))
    assert found.standard_error == 0.0
    assert found.bounds(0.95) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_equal_to_loops_over_questions() -> None:
    dice = np.random.default_rng(5)
    articles = np.sort(np.concatenate([np.arange(9), dice.integers(0, 9, 60)]))
    differences = dice.normal(0.0, 20.0, len(articles)) * (dice.random(len(articles)) < 0.4)
    member = dice.random(len(articles)) < 0.5
    member[articles == 3] = False  # a slice that one article lacks
    resamples, seed = 300, 11
    groups = resample_by_article(
        differences, articles, np.stack([np.ones_like(member), member]), resamples=resamples, seed=seed
    )
    for found, inside in zip(groups, (np.ones_like(member), member), strict=True):
        values = {article: differences[inside & (articles == article)].tolist() for article in range(9)}
        expected = sorted(loop_absolute_t(values, resamples, seed))
        assert found.num_articles == sum(map(bool, values.values()))
        np.testing.assert_allclose(found.absolute_t, expected, rtol=1e-9, atol=1e-9)


def loop_absolute_t(values: dict[int, list[float]], resamples: int, seed: int) -> list[float]:
    """Resample question by question, with a standard error from the articles drawn."""
    bits = np.random.PCG64(seed)
    every = [value for article in values.values() for value in article]
    mean = sum(every) / len(every)
    held = sum(map(bool, values.values()))
    result = []
    for _ in range(resamples):
        drawn = [values[((int(bits.random_raw()) >> 32) * len(values)) >> 32] for _ in values]
        questions = [value for article in drawn for value in article]
        own_mean = sum(questions) / len(questions)
        squares = sum((sum(article) - own_mean * len(article)) ** 2 for article in drawn)
        error = math.sqrt(held / (held - 1) * squares) / len(questions)
        shift = abs(own_mean - mean)
        result.append(shift / error if error > 1e-9 else math.inf if shift > 1e-9 else 0.0)
    return result


def test_a_seed_draws_the_same_articles_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draw_articles(7, 100, seed=3)))
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 50)
    parts = list(draw_articles(7, 100, seed=3))
    assert len(parts) == 15
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(axis=1) == 7).all()
    # Golden: a receipt's seed must draw the same articles with another numpy.
    assert whole[:2].tolist() == [[2, 1, 0, 2, 1, 1, 0], [1, 1, 1, 2, 1, 1, 0]]
    assert whole.mean(axis=0) == pytest.approx(1.0, abs=0.4)


def test_another_seed_moves_the_bounds_a_little_and_the_same_not_at_all() -> None:
    scores = make_scores(np.random.default_rng(8), np.full(30, 20))
    first, same, other = (resample(scores.differences, scores.articles, seed=seed).bounds(0.95) for seed in (1, 1, 2))
    assert first == same
    assert first != other
    assert first == pytest.approx(other, abs=0.2)


@pytest.mark.parametrize("num_articles", [24, 48])
def test_bounds_miss_as_often_as_they_say(num_articles: int) -> None:
    dice = np.random.default_rng(num_articles)
    rounds, confidence = 2000, 0.95
    missed = np.zeros(2)
    for seed in range(rounds):
        scores = make_scores(dice, sizes_like_squad(dice, num_articles))
        lower, upper = resample(scores.differences, scores.articles, resamples=999, seed=seed).bounds(confidence)
        missed += (lower > 0.0, upper < 0.0)
    # Within three standard errors of a binomial count: 3.5 to 6.5 %.
    assert (np.abs(missed - 0.05 * rounds) <= 3.0 * math.sqrt(rounds * 0.05 * 0.95)).all(), missed


def test_bounds_of_small_slices_miss_no_more_often_than_they_say() -> None:
    # 20 articles with two questions each, of which one in seven is answered differently: a handful of differences.
    dice = np.random.default_rng(4)
    rounds = 2000
    missed = 0
    for seed in range(rounds):
        scores = make_scores(dice, np.full(20, 2), disagreement=0.15)
        lower, upper = resample(scores.differences, scores.articles, resamples=999, seed=seed).bounds(0.99)
        missed += (lower > 0.0) + (upper < 0.0)
    assert missed <= 0.02 * rounds + 3.0 * math.sqrt(rounds * 0.02)
