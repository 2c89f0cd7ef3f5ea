"""How sure a difference in F1 is: a paired bootstrap by article.

Two models answered the same questions. The difference is the mean over questions of challenger minus champion, and
what would another evaluation set have shown? Questions on one article stand or fall together, so whole articles are
drawn with replacement; a resample's difference is the sum over its questions divided by their number.

The interval is the symmetric bootstrap-t (Hall, "On symmetric bootstrap confidence intervals", 1988): the difference
plus and minus a multiple of its standard error by articles, the multiple being the quantile of ``|t|`` over the
resamples, each studentized by its own standard error.

Chosen by measurement. How often, in percent, a bound of 95 % confidence missed the truth (lower / upper; 8,000 made-up
evaluations like SQuAD's, with article effects; benchmarks/gate_coverage.py repeats it, chance is +-0.25):

    articles   percentile    bootstrap-t    symmetric bootstrap-t
    12         7.1 / 7.7     5.1 / 5.6      4.7 / 5.2
    24         6.7 / 6.4     5.4 / 5.1      5.1 / 5.1
    48         6.0 / 5.2     5.3 / 4.8      5.0 / 4.6

The percentile interval is too narrow with few articles. In small slices of which few questions differ, both others
are: with 48 articles of four questions, bounds that may miss in 0.5 % do so in 0.9 / 0.9 (percentile), 1.0 / 0.9
(bootstrap-t) and 0.4 / 0.4 (symmetric); with 20 articles of two in 1.6 / 1.6, 1.6 / 1.7 and hardly ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_DIFFERENCE = 100.0  # points of F1: no bound lies beyond
_DRAWS_AT_ONCE = 2_000_000  # 16 MB of counts
_ROUNDING = 1e-12  # what is smaller, relative to the terms it came from, is rounding and no difference


@dataclass(frozen=True)
class Resampled:
    """A difference and what its resamples tell; differences and standard error in points of F1 (percent).

    ``absolute_t`` (float64, shape (resamples,)) ascends: ``|t|`` of each resample, infinite where a resample differs
    but shows no spread of its own.
    """

    difference: float
    standard_error: float
    num_questions: int
    num_articles: int
    absolute_t: NDArray[np.float64]

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the lower and the upper bound of the difference, EACH of which holds with ``confidence``.

        Both hold together with 2 * confidence - 1. With fewer than two articles nothing is known: -100 and 100.
        """
        if self.num_articles < 2:
            return -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE
        reach = self._quantile(confidence) * self.standard_error if self.standard_error else 0.0
        return max(self.difference - reach, -LARGEST_DIFFERENCE), min(self.difference + reach, LARGEST_DIFFERENCE)

    def probability_below(self, value: float) -> float:
        """Return the p-value of "the true difference is at most ``value``", against its being greater.

        It is at most 1 - confidence exactly where the lower bound reaches ``value``. 1 with fewer than two articles.
        """
        if self.num_articles < 2:
            return 1.0
        distance = self.difference - value
        if not self.standard_error:
            return 0.0 if distance >= 0.0 else 1.0
        return self._tail(distance / self.standard_error)

    def pass_probability(self, margin: float, confidence: float) -> float:
        """Return how probable it is that an equally good model's lower bound reaches ``-margin``, given this spread.

        One minus it is the gate's rate of false rejections on this evaluation set.
        """
        if self.num_articles < 2:
            return float(margin >= LARGEST_DIFFERENCE)
        if margin >= LARGEST_DIFFERENCE or not self.standard_error:
            return 1.0
        return self._tail(self._quantile(confidence) - margin / self.standard_error)

    def _quantile(self, confidence: float) -> float:
        num = len(self.absolute_t)
        # 1e-9: 0.95 is no binary number, and must not cost an order statistic.
        rank = math.ceil((2.0 * confidence - 1.0) * (num + 1) - 1e-9)
        return float(self.absolute_t[max(rank, 1) - 1]) if rank <= num else math.inf

    def _tail(self, t: float) -> float:
        """Return the probability of a t beyond this one, the resamples' |t| having either sign alike."""
        beyond = len(self.absolute_t) - int(np.searchsorted(self.absolute_t, abs(t), side="right"))
        half = 0.5 * (beyond + 1) / (len(self.absolute_t) + 1)
        return half if t >= 0.0 else 1.0 - half


def resample_by_article(
    differences: NDArray[np.float64],
    articles: NDArray[np.int64],
    members: NDArray[np.bool_],
    *,
    resamples: int,
    seed: int,
) -> list[Resampled]:
    """Resample the mean difference of several groups of questions, all by the same draws of articles.

    ``differences`` (points, shape (questions,)) and ``articles`` (0 to n - 1, each occurring) describe the questions;
    each row of ``members`` (groups, questions) selects a group's, of which there must be one or more. Equal
    arguments give equal results; a seed's draws are the same in every version of numpy.
    """
    num_articles = int(articles.max()) + 1

    def per_article(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.bincount(articles[mask], weights[mask], num_articles) for mask in members])

    sizes, totals = per_article(np.ones_like(differences)), per_article(differences)
    num_questions = sizes.sum(axis=1)
    mean = totals.sum(axis=1) / num_questions
    # What an article adds or takes beyond the mean: they sum to 0 over all articles.
    excess = totals - mean[:, None] * sizes
    terms = per_article(np.abs(differences)) + np.abs(mean)[:, None] * sizes
    excess[np.abs(excess) <= _ROUNDING * terms] = 0.0
    held = (sizes > 0).sum(axis=1)
    absolute_t = np.concatenate(
        [_absolute_t(counts, sizes, excess) for counts in draw_articles(num_articles, resamples, seed)], axis=1
    )
    absolute_t.sort(axis=1)
    few = held / np.maximum(held - 1, 1)
    errors = np.sqrt(few * (excess**2).sum(axis=1)) / num_questions
    return [
        Resampled(float(mean[group]), float(errors[group]), int(num_questions[group]), int(held[group]), row)
        for group, row in enumerate(absolute_t * np.sqrt(1.0 / few)[:, None])
    ]


def draw_articles(num_articles: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each article was drawn in each resample, some resamples at a time: (some, articles), float64.

    The raw bits of PCG64 are the same in every version of numpy, which its samplers do not promise. Reducing 32
    of them to a place by a product favours none by more than num_articles / 2**32.
    """
    bits = np.random.PCG64(seed)
    at_once = max(1, _DRAWS_AT_ONCE // num_articles)
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        high = bits.random_raw(rows * num_articles) >> np.uint64(32)
        places = ((high * np.uint64(num_articles)) >> np.uint64(32)).astype(np.int64)
        places += np.repeat(np.arange(rows) * num_articles, num_articles)
        yield np.bincount(places, minlength=rows * num_articles).reshape(rows, num_articles).astype(np.float64)


def _absolute_t(
    counts: NDArray[np.float64], sizes: NDArray[np.float64], excess: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return |t| per group and resample, without the factor for few articles that both errors share."""
    drawn, shift, squares, mixed, squared_sizes = (
        terms @ counts.T for terms in (sizes, excess, excess**2, excess * sizes, sizes**2)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        shift /= drawn  # the resample's difference minus the difference
        spread = squares - 2.0 * shift * mixed + shift**2 * squared_sizes
        spread[spread <= _ROUNDING * (squares + shift**2 * squared_sizes)] = 0.0
        t = np.abs(shift) * drawn / np.sqrt(spread)
    # 0/0 is a resample that does not differ, or that drew none of the group's questions and so tells nothing.
    t[np.isnan(t)] = 0.0
    return np.asarray(t, np.float64)
