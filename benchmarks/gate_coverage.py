"""The gate: how often the bounds of three kinds of interval miss the truth, on made-up scores with article effects.

    python -m benchmarks.gate_coverage

The truth is "no difference". Each bound is to hold with 95 % confidence, so each may miss in 5 % of the evaluations.
The first three cases are evaluations of SQuAD's kind, the last two are slices in which few questions are answered
differently. Some minutes on one core; the same figures each time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import RESULTS, machine
from podsquad.evaluation.bootstrap import draw_articles, resample_by_article
from podsquad.store.durable import write_json
from tests.evaluation.made_up_scores import MadeUpScores, make_scores, sizes_like_squad

# name: articles, questions per article (None: as SQuAD's), confidence of a bound
CASES: dict[str, tuple[int, int | None, float]] = {
    "12 articles": (12, None, 0.95),
    "24 articles": (24, None, 0.95),
    "48 articles": (48, None, 0.95),
    "slice of 20 articles, 2 questions each": (20, 2, 0.995),
    "slice of 48 articles, 4 questions each": (48, 4, 0.995),
}
RESAMPLES = 2000
RESULT = RESULTS / "gate_coverage.json"


def main() -> None:
    """Run, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8000)
    options = parser.parse_args()
    cases: dict[str, Any] = {}
    for case, (num_articles, per_article, confidence) in CASES.items():
        dice = np.random.default_rng(1984)
        missed: dict[str, NDArray[np.float64]] = {}
        width: dict[str, float] = {}
        for seed in range(options.rounds):
            sizes = sizes_like_squad(dice, num_articles) if per_article is None else np.full(num_articles, per_article)
            scores = make_scores(dice, sizes, disagreement=0.12 if per_article is None else 0.15)
            for name, (lower, upper) in intervals(scores, confidence, seed).items():
                missed[name] = missed.get(name, np.zeros(2)) + np.array([lower > 0.0, upper < 0.0])
                width[name] = width.get(name, 0.0) + (upper - lower) / options.rounds
        cases[case] = {"confidence": confidence, "allowed_percent": round(100 * (1 - confidence), 3)}
        for name, counts in missed.items():
            lower, upper = (100.0 * counts / options.rounds).round(2).tolist()
            cases[case][name] = {"lower_missed": lower, "upper_missed": upper, "mean_width": round(width[name], 3)}
            print(f"{case:40} {name:24} {lower:6.2f} / {upper:5.2f} %   width {width[name]:6.2f}", flush=True)
    versions = {"python": platform.python_version(), "numpy": importlib.metadata.version("numpy")}
    write_json(
        RESULT,
        {"rounds": options.rounds, "resamples": RESAMPLES, "cases": cases, "machine": machine(), "versions": versions},
    )
    print(f"written to {RESULT}")


def intervals(scores: MadeUpScores, confidence: float, seed: int) -> dict[str, tuple[float, float]]:
    """Return the bounds by each method, in points."""
    everything = np.ones((1, len(scores.articles)), np.bool_)
    found = resample_by_article(scores.differences, scores.articles, everything, resamples=RESAMPLES, seed=seed)[0]
    sizes = np.bincount(scores.articles).astype(np.float64)
    excess = np.bincount(scores.articles, scores.differences) - found.difference * sizes
    counts = np.concatenate(list(draw_articles(len(sizes), RESAMPLES, seed)))
    drawn = counts @ sizes
    shift = counts @ excess / drawn
    spread = counts @ excess**2 - 2 * shift * (counts @ (excess * sizes)) + shift**2 * (counts @ sizes**2)
    factor = len(sizes) / (len(sizes) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(shift * drawn / np.sqrt(factor * np.where(spread > 1e-9, spread, 0.0)), nan=0.0)
    order = [1.0 - confidence, confidence]
    low, high = np.quantile(shift, order)
    # Order statistics, for infinities cannot be interpolated between; and no bound beyond what F1 allows.
    t_low, t_high = np.clip(np.quantile(t, order, method="inverted_cdf"), -1e6, 1e6)
    error, difference = found.standard_error, found.difference
    return {
        "percentile": (difference + low, difference + high),
        "bootstrap-t": (max(difference - t_high * error, -100.0), min(difference - t_low * error, 100.0)),
        "symmetric bootstrap-t": found.bounds(confidence),
    }


if __name__ == "__main__":
    main()
