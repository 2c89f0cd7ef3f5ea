"""Made-up scores of two models on the same questions, like SQuAD's validation set: articles differ in size and in kind.

On most questions both models answer alike. On the others one gives the better answer; each article favours one of
the two a little, so that questions on one article are not independent. Differences are F1's usual ones, with ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from podsquad.evaluation.scored import ScoredQuestions

# F1 of the better and of the worse answer where the two models differ, and how often.
_BETTER = np.array([1.0, 1.0, 1.0, 2 / 3, 0.8, 1.0])
_WORSE = np.array([0.0, 0.5, 2 / 3, 0.0, 0.4, 0.8])
_SHARES = np.array([0.5, 0.15, 0.1, 0.1, 0.05, 0.1])
_MEAN_GAP = float(((_BETTER - _WORSE) * _SHARES).sum())
# F1 where both answer alike, and how often.
_ALIKE, _ALIKE_SHARES = np.array([1.0, 0.0, 2 / 3, 0.5]), np.array([0.82, 0.06, 0.07, 0.05])


@dataclass(frozen=True)
class MadeUpScores:
    """Scores per question, F1 from 0 to 1, and the article of each."""

    articles: NDArray[np.int64]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]

    @property
    def differences(self) -> NDArray[np.float64]:
        """Challenger minus champion, in points."""
        return 100.0 * (self.challenger - self.champion)

    def contenders(self, slices: dict[str, list[str]] | None = None) -> tuple[ScoredQuestions, ScoredQuestions]:
        """Return the challenger's and the champion's scores as the gate reads them."""
        ids = [f"q{row}" for row in range(len(self.articles))]
        names = [f"article {number}" for number in self.articles.tolist()]
        return (
            ScoredQuestions(ids, names, self.challenger, slices or {}),
            ScoredQuestions(ids, names, self.champion, slices or {}),
        )


def sizes_like_squad(dice: np.random.Generator, num_articles: int) -> NDArray[np.int64]:
    """Draw numbers of questions per article: from 80 to 810, 216 on average, most below the average."""
    return np.minimum(80 + dice.gamma(1.6, 85.0, num_articles), 810).astype(np.int64)


def make_scores(
    dice: np.random.Generator,
    sizes: NDArray[np.int64],
    *,
    difference: float = 0.0,
    article_spread: float = 1.2,
    disagreement: float = 0.12,
) -> MadeUpScores:
    """Draw scores whose true mean difference is ``difference`` points, with articles ``article_spread`` apart.

    The truth is exact while an article's own difference stays below 0.5 / (disagreement * mean gap): 6.7 points by
    default.
    """
    articles = np.repeat(np.arange(len(sizes)), sizes)
    own = (difference + dice.normal(0.0, article_spread, len(sizes))) / 100.0
    wins = np.clip(0.5 + own / (2.0 * disagreement * _MEAN_GAP), 0.0, 1.0)[articles]
    num = len(articles)
    kind = np.searchsorted(np.cumsum(_SHARES), dice.random(num), side="right").clip(max=len(_SHARES) - 1)
    alike = _ALIKE[np.searchsorted(np.cumsum(_ALIKE_SHARES), dice.random(num), side="right").clip(max=3)]
    differ, won = dice.random(num) < disagreement, dice.random(num) < wins
    better, worse = _BETTER[kind], _WORSE[kind]
    return MadeUpScores(
        articles,
        np.where(differ, np.where(won, worse, better), alike),
        np.where(differ, np.where(won, better, worse), alike),
    )
