"""All nights in one place: their scores and verdicts as one view, the same that ``podsquad runs`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from podsquad.charts import data_uri, draw_nights
from podsquad.history import PastRun
from podsquad.views import View, escaped, table

MOST_NIGHTS = 60  # in the view; more are in the store


def nights_view(profile: str, runs: Sequence[PastRun]) -> View:
    """Show the past nights of a profile; ``runs`` as history.past_runs gives them, the newest first."""
    nights = [run for run in runs if run.profile == profile]
    shown = nights[:MOST_NIGHTS]
    rows = [
        (
            f"{run.when:%Y-%m-%d %H:%M}",
            f"{run.exact_match:.2f}",
            f"**{run.f1:.2f}**",
            f"{run.num_questions:,}",
            "-" if run.steps is None else f"{run.steps:,}",
            run.training,
            escaped(run.verdict + (f" ({run.cause.replace('_', ' ')})" if run.cause else "")) or "not asked",
            _became(run),
        )
        for run in shown
    ]
    columns = ("UTC", "exact match", "F1", "questions", "steps", "training", "verdict", "version")
    parts = [table(columns, rows, right=columns[1:6])]
    if shown:
        oldest_first = shown[::-1]
        svg = draw_nights([run.f1 for run in oldest_first], [bool(run.tag) for run in oldest_first])
        parts.insert(0, f"![F1 of the nights]({data_uri(svg)})")
    if len(nights) > len(shown):
        parts.append(f"The newest {len(shown):,} of {len(nights):,}.")
    parts.append("A night that changed nothing leaves no entry. All profiles: `podsquad runs`.")
    best = max((run.f1 for run in nights), default=0.0)
    number = f"{len(nights):,} night" + ("" if len(nights) == 1 else "s")
    return View("nights", f"{number}, best F1 {best:.2f}", "\n\n".join(parts))


def _became(run: PastRun) -> str:
    if not run.tag:
        return "-"
    if run.withdrawn:
        return f"`{run.tag}`, withdrawn: {escaped(run.withdrawn)}"
    return f"`{run.tag}`" + (", **published now**" if run.is_current else "")
