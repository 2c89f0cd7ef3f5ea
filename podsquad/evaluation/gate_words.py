"""The gate's verdicts as sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podsquad.evaluation.gate import Cause, Difference

_NAMED = 3  # slices that a sentence names


def say_first() -> str:
    """Say that there was nothing to compare with."""
    return "There is no champion yet, so the challenger is the first."


def say_unchanged(digest: str) -> str:
    """Say that the challenger is the champion."""
    return f"The challenger's weights are the champion's (digest {digest[:12]}), so there is nothing to publish."


def say_withdrawn(reason: str) -> str:
    """Say that a person took this very model back."""
    return f"This very model was published and rolled back ({reason}), so it is not published again by itself."


def say_incomparable(*, has_scores: bool) -> str:
    """Say why champion and challenger cannot be compared, and what would help."""
    if has_scores:
        return "The evaluation set changed since the champion was scored: score the champion on the new one to compare."
    return "The champion's scores per question cannot be had: score the champion again to compare."


def say_comparison(
    cause: Cause | None,
    overall: Difference,
    margin: float,
    pass_probability: float,
    fallen: Sequence[tuple[str, Difference]],
) -> str:
    """Say how F1 changed, what is proven about it, and what follows."""
    change = f"F1 went from {overall.champion_f1:.2f} to {overall.challenger_f1:.2f} ({overall.difference_f1:+.2f})"
    sure = f"with {overall.confidence:.4%}".rstrip("%").rstrip("0").rstrip(".") + " % confidence"
    if cause == "worse":
        return f"{change}: {sure} the loss is at least {-overall.upper_f1:.2f}, more than the margin of {margin:g}."
    if cause == "unproven":
        return (
            f"{change}: {sure} it is only known that the loss is at most {-overall.lower_f1:.2f}, which is more than "
            f"the margin of {margin:g}; on these {overall.num_questions:,} questions about {_articles(overall)} an "
            f"equally good model passes {pass_probability:.0%} of the time."
        )
    if cause == "slice_fell":
        told = [f"{name} by {-part.difference_f1:.2f} (at least {-part.upper_f1:.2f})" for name, part in fallen]
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        return f"{change}, within the margin of {margin:g}, but guarded slices fell: {', '.join(told[:_NAMED])}{more}."
    if overall.lower_f1 > 0.0:
        return f"{change}: {sure} the challenger is better by at least {overall.lower_f1:.2f}."
    return f"{change}: {sure} the loss is at most {-overall.lower_f1 + 0.0:.2f}, within the margin of {margin:g}."


def _articles(overall: Difference) -> str:
    return f"{overall.num_articles:,} article" + ("" if overall.num_articles == 1 else "s")
