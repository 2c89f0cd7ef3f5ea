"""The gate: the time of its paired bootstrap by article, against plain loops.

    python -m benchmarks.gate

Made-up scores of as many questions as SQuAD's validation set has, about 48 articles. The loops draw articles and add
up every drawn question's difference: in Python for a hundredth of the resamples, its time multiplied; with numpy,
one concatenation per resample, for a tenth. They make the plain percentile interval alone, podsquad studentizes each
resample; one of podsquad's figures is the bootstrap of all questions, the other the whole verdict with 13 guarded
slices. All run in one process, turn by turn; medians.
"""

from __future__ import annotations

import argparse
import random

import numpy as np

from benchmarks.timing import RESULTS, compare, write_result
from podsquad.config.publish_settings import GateSettings
from podsquad.evaluation.bootstrap import Resampled, resample_by_article
from podsquad.evaluation.gate import Contender, GateResult, judge
from podsquad.evaluation.slices import VIEWS
from tests.evaluation.made_up_scores import make_scores, sizes_like_squad

NUM_QUESTIONS, NUM_ARTICLES, RESAMPLES = 10_570, 48, 10_000
PYTHON_SHARE, NUMPY_SHARE = 100, 10
RESULT = RESULTS / "gate.json"


def main() -> None:
    """Run, compare the standard errors, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    dice = np.random.default_rng(1984)
    sizes = sizes_like_squad(dice, NUM_ARTICLES)
    sizes[-1] += NUM_QUESTIONS - sizes.sum()
    scores = make_scores(dice, sizes)
    slices = {view: dice.choice(VIEWS[view], NUM_QUESTIONS).tolist() for view in ("question_word", "answer_length")}
    per_article = [scores.differences[scores.articles == article] for article in range(NUM_ARTICLES)]
    as_lists = [part.tolist() for part in per_article]

    def with_python() -> list[float]:
        draw = random.Random(1984)
        means = []
        for _ in range(RESAMPLES // PYTHON_SHARE):
            total, count = 0.0, 0
            for article in draw.choices(as_lists, k=NUM_ARTICLES):
                for difference in article:
                    total += difference
                    count += 1
            means.append(total / count)
        return means

    def with_numpy() -> list[float]:
        draw = np.random.default_rng(1984)
        return [
            float(np.concatenate([per_article[place] for place in draw.integers(0, NUM_ARTICLES, NUM_ARTICLES)]).mean())
            for _ in range(RESAMPLES // NUMPY_SHARE)
        ]

    members = np.ones((1, NUM_QUESTIONS), np.bool_)

    def ours() -> Resampled:
        return resample_by_article(scores.differences, scores.articles, members, resamples=RESAMPLES, seed=1984)[0]

    challenger, champion = scores.contenders(slices)
    settings = GateSettings(resamples=RESAMPLES)

    def whole_gate() -> GateResult:
        return judge(Contender("new", "same", challenger), Contender("old", "same", champion), settings, seed=1984)

    errors = {"python": float(np.std(with_python())), "numpy": float(np.std(with_numpy()))}
    errors["podsquad"] = ours().standard_error
    verdict = whole_gate()
    times = compare(
        {"python_loop": with_python, "numpy_loop": with_numpy, "podsquad": ours, "whole_gate": whole_gate},
        options.rounds,
    )
    times.scale("python_loop", PYTHON_SHARE)
    times.scale("numpy_loop", NUMPY_SHARE)
    write_result(
        RESULT,
        times,
        {
            "questions": NUM_QUESTIONS,
            "articles": NUM_ARTICLES,
            "resamples": RESAMPLES,
            "python_loop_measured_resamples": RESAMPLES // PYTHON_SHARE,
            "numpy_loop_measured_resamples": RESAMPLES // NUMPY_SHARE,
            "guarded_slices_of_whole_gate": len(verdict.slices),
            "standard_error_points": {name: round(value, 4) for name, value in errors.items()},
        },
        libraries=("numpy",),
    )


if __name__ == "__main__":
    main()
