"""The gate: may the challenger take the champion's place?

    promoted       a loss of more than the margin is excluded, and no guarded slice fell
    rejected       the cause: "worse" (the loss is proven to exceed the margin), "unproven" (it cannot be excluded:
                   too near, or too few questions to tell), "slice_fell", or "withdrawn" (this very model was published
                   and rolled back)
    unchanged      the challenger's weights are the champion's
    first          there is no champion
    incomparable   the champion has no scores on these questions: the evaluation set changed

Both answered the same questions; their difference in F1 is resampled by article (bootstrap.py). The lower bound
holds with the confidence that the settings name, so a challenger that is worse by exactly the margin passes with
probability 1 - confidence. How often an equally good one is rejected follows from the spread of the questions, and
the result tells it.

A guarded slice falls when the upper bound of its own difference is below minus the slice margin. Many slices are many
chances to fall by bad luck, so each bound holds with confidence 1 - (1 - confidence) / slices judged (Bonferroni): a
challenger none of whose slices lost more than the slice margin is rejected for a slice with probability 1 -
confidence at most. Holm's procedure would reject the same challengers: its first step is this one. Slices on fewer
than ten articles are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from podsquad.config.publish_settings import GateSettings
from podsquad.errors import DataError, SettingsError
from podsquad.evaluation.bootstrap import Resampled, resample_by_article
from podsquad.evaluation.gate_words import say_comparison, say_first, say_incomparable, say_unchanged, say_withdrawn
from podsquad.evaluation.scored import ScoredQuestions
from podsquad.evaluation.slices import VIEWS

Verdict = Literal["promoted", "rejected", "unchanged", "first", "incomparable"]
Cause = Literal["worse", "unproven", "slice_fell", "withdrawn"]
# Fewer say next to nothing (at ten, bounds lie 8 points away with 20 questions per article and 14 with 3), and
# the simulations of the interval begin here.
MIN_SLICE_ARTICLES = 10
_DIGITS = 6  # of what is told, and decided by: a billionth of a point is the order in which a machine adds


@dataclass(frozen=True)
class Contender:
    """One of the two: the digest of its model, of the questions it was scored on, and its scores.

    ``questions`` is None where the scores cannot be had: a champion whose evaluation is gone.
    """

    model_digest: str
    evaluation_digest: str
    questions: ScoredQuestions | None


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion on some questions; F1, standard error and bounds in percent and its points."""

    num_questions: int
    num_articles: int
    champion_f1: float
    challenger_f1: float
    difference_f1: float
    standard_error_f1: float
    lower_f1: float
    upper_f1: float
    confidence: float
    """Each of the two bounds holds with it."""


@dataclass(frozen=True)
class SliceResult:
    """What the gate found about a guarded slice; without a difference where no question is in it."""

    name: str
    state: Literal["held", "fell", "not_judged"]
    difference: Difference | None


@dataclass(frozen=True)
class GateResult:
    """The gate's verdict and everything it rests on. ``reason`` is one sentence for people."""

    verdict: Verdict
    cause: Cause | None
    reason: str
    challenger_digest: str
    champion_digest: str | None
    evaluation_digest: str
    num_earlier_uses: int | None
    """Challengers that were judged on these questions before; None: what the nights came to is not known."""
    margin_f1: float
    slice_margin_f1: float
    resamples: int
    seed: int
    overall: Difference | None = None
    probability_worse: float | None = None
    """p-value against "worse by the margin or more": at most 1 - confidence where the gate's bound holds."""
    pass_probability_if_equal: float | None = None
    """How probable it is that an equally good model passes the overall bound on these questions."""
    slices: tuple[SliceResult, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the challenger is to be published."""
        return self.verdict in ("promoted", "first")

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self) | {"passes": self.passes, "slices": [asdict(part) for part in self.slices]}


def judge(
    challenger: Contender,
    champion: Contender | None,
    settings: GateSettings,
    *,
    seed: int,
    num_earlier_uses: int = 0,
    withdrawn: str = "",
) -> GateResult:
    """Compare the two and return the verdict; equal arguments give an equal result, in whatever order questions come.

    ``withdrawn`` is the reason for which the challenger's own model was rolled back; empty: it was not.

    Raises DataError when the contenders claim the same questions and have others, or lack what is to be compared;
    SettingsError when a guarded slice does not exist.
    """
    guarded = guarded_slices(settings)

    def result(verdict: Verdict, reason: str, cause: Cause | None = None, **found: Any) -> GateResult:
        return GateResult(
            verdict=verdict,
            cause=cause,
            reason=reason,
            challenger_digest=challenger.model_digest,
            champion_digest=champion.model_digest if champion else None,
            evaluation_digest=challenger.evaluation_digest,
            num_earlier_uses=num_earlier_uses,
            margin_f1=settings.margin_f1,
            slice_margin_f1=settings.slice_margin_f1,
            resamples=settings.resamples,
            seed=seed,
            **found,
        )

    if champion is None:
        return result("rejected", say_withdrawn(withdrawn), "withdrawn") if withdrawn else result("first", say_first())
    if champion.model_digest == challenger.model_digest:
        return result("unchanged", say_unchanged(challenger.model_digest))
    if withdrawn:
        return result("rejected", say_withdrawn(withdrawn), "withdrawn")
    if champion.evaluation_digest != challenger.evaluation_digest or champion.questions is None:
        return result("incomparable", say_incomparable(has_scores=champion.questions is not None))
    if challenger.questions is None:
        raise DataError(
            "the challenger has no scores",
            why="its evaluation does not tell the score of each question",
            do="run again with --refresh evaluate",
        )

    compared = _compare(challenger.questions, champion.questions, guarded, settings, seed)
    overall, slices = compared.overall, compared.slices
    cause: Cause | None = None
    if overall.lower_f1 < -settings.margin_f1:
        cause = "worse" if overall.upper_f1 < -settings.margin_f1 else "unproven"
    elif any(part.state == "fell" for part in slices):
        cause = "slice_fell"
    fallen = [(part.name, part.difference) for part in slices if part.state == "fell" and part.difference]
    return result(
        "rejected" if cause else "promoted",
        say_comparison(cause, overall, settings.margin_f1, compared.pass_probability_if_equal, fallen),
        cause,
        overall=overall,
        probability_worse=compared.probability_worse,
        pass_probability_if_equal=compared.pass_probability_if_equal,
        slices=slices,
    )


def guarded_slices(settings: GateSettings) -> list[tuple[str, str]]:
    """Return view and name of each guarded slice, a view alone standing for all of its own. Raises SettingsError."""
    known = [(view, name) for view, names in VIEWS.items() for name in names]
    asked = set(settings.guarded_slices)
    if unknown := sorted(asked - set(VIEWS) - {f"{view}:{name}" for view, name in known}):
        raise SettingsError(
            f"gate.guarded_slices names {', '.join(map(repr, unknown))}, which is no slice",
            why="a guarded slice is looked for by its name among the parts of the questions",
            do=f"name a view ({', '.join(VIEWS)}), or one of its slices as {known[0][0]}:{known[0][1]}",
        )
    return [(view, name) for view, name in known if view in asked or f"{view}:{name}" in asked]


def count_uses(evaluation_digest: str, records: Iterable[Mapping[str, Any]]) -> int:
    """Return how many challengers the records, GateResult.to_json() of earlier nights, judged on these questions.

    A challenger counts once however often it was judged: a retried night tells nothing new. The more were judged,
    the better the best of them fits these questions in particular, by luck. Records of other forms are passed over.
    """
    return len(
        {
            record["challenger_digest"]
            for record in records
            if record.get("evaluation_digest") == evaluation_digest and record.get("challenger_digest")
        }
    )


@dataclass(frozen=True)
class _Compared:
    overall: Difference
    probability_worse: float
    pass_probability_if_equal: float
    slices: tuple[SliceResult, ...]


def _compare(
    challenger: ScoredQuestions,
    champion: ScoredQuestions,
    guarded: list[tuple[str, str]],
    settings: GateSettings,
    seed: int,
) -> _Compared:
    ours, theirs = _order(challenger), _order(champion)
    if not ours or [challenger.ids[row] for row in ours] != [champion.ids[row] for row in theirs]:
        raise DataError(
            f"the champion's {len(champion):,} scored questions are not the challenger's {len(challenger):,}",
            why="the digests of their evaluation sets are equal, so one of the evaluations is damaged",
            do="run again with --refresh evaluate",
        )
    if missing := sorted({view for view, _ in guarded} - set(challenger.slices)):
        raise DataError(
            f"the challenger's evaluation does not tell the slices {', '.join(missing)} of its questions",
            why="another version of podsquad wrote it",
            do="run again with --refresh evaluate",
        )
    _, articles = np.unique([challenger.articles[row] for row in ours], return_inverse=True)
    scores = 100.0 * np.stack([champion.f1[theirs], challenger.f1[ours]])
    differences = scores[1] - scores[0]

    members = {"": np.ones(len(ours), np.bool_)}  # the empty name: all questions
    for view, name in guarded:
        inside = np.asarray([challenger.slices[view][row] == name for row in ours])
        if inside.any():
            members[f"{view}:{name}"] = inside
    resampled = dict(
        zip(
            members,
            resample_by_article(
                differences, articles, np.stack(list(members.values())), resamples=settings.resamples, seed=seed
            ),
            strict=True,
        )
    )

    def difference(name: str, confidence: float) -> Difference:
        return _difference(resampled[name], scores[:, members[name]].mean(axis=1).tolist(), confidence)

    judged = [name for name, found in resampled.items() if name and found.num_articles >= MIN_SLICE_ARTICLES]
    slice_confidence = 1.0 - (1.0 - settings.confidence) / max(len(judged), 1)
    slices = []
    for name in (f"{view}:{name}" for view, name in guarded):
        found = difference(name, slice_confidence) if name in members else None
        fell = found is not None and found.upper_f1 < -settings.slice_margin_f1
        slices.append(SliceResult(name, "not_judged" if name not in judged else "fell" if fell else "held", found))
    return _Compared(
        overall=difference("", settings.confidence),
        probability_worse=round(resampled[""].probability_below(-settings.margin_f1), _DIGITS),
        pass_probability_if_equal=round(
            resampled[""].pass_probability(settings.margin_f1, settings.confidence), _DIGITS
        ),
        slices=tuple(slices),
    )


def _order(questions: ScoredQuestions) -> list[int]:
    """Return the rows by id, so that sums are added in one order whatever the file's."""
    return sorted(range(len(questions)), key=questions.ids.__getitem__)


def _difference(resampled: Resampled, f1: list[float], confidence: float) -> Difference:
    lower, upper = resampled.bounds(confidence)
    return Difference(
        num_questions=resampled.num_questions,
        num_articles=resampled.num_articles,
        champion_f1=round(f1[0], _DIGITS),
        challenger_f1=round(f1[1], _DIGITS),
        difference_f1=round(resampled.difference, _DIGITS),
        standard_error_f1=round(resampled.standard_error, _DIGITS),
        lower_f1=round(lower, _DIGITS),
        upper_f1=round(upper, _DIGITS),
        confidence=round(confidence, 9),
    )
