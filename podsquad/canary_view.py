"""What a person sees of a canary in the Prefect UI."""

from __future__ import annotations

from podsquad.canary import CanaryReport
from podsquad.views import View, emulated_view, escaped, table


def canary_view(report: CanaryReport) -> View:
    """Show whether the training came out the same, stage by stage, and where it began to differ."""
    rows = [
        (
            each.stage,
            "same" if each.is_same else "**other**",
            f"`{each.expected_digest[:12]}`",
            f"`{each.digest[:12]}`",
            escaped("; ".join(each.differences)) or "-",
            escaped(", ".join(each.files)) or "-",
        )
        for each in report.stages
    ]
    head = ("stage", "", "digest before", "digest now", "ingredients that changed", "files that differ")
    parts = [f"**{report.verdict.capitalize()}**.", escaped(report.summary), table(head, rows)]
    if report.diverged:
        parts.append(f"First step that differs: {report.diverged.step} of {report.diverged.num_steps}.")
    if report.hardware:
        parts.append("Hardware: " + escaped("; ".join(report.hardware)) + ".")
    view = View("canary", report.verdict.capitalize(), "\n\n".join(parts))
    return emulated_view(view) if report.emulated else view
