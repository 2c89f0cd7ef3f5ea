"""Print what the verbs found out: a table for people, one JSON object for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from podsquad.config.fields import settings_fields
from podsquad.config.load import LoadedSettings
from podsquad.terminal import print_json, print_table

if TYPE_CHECKING:
    from podsquad.plan import Plan


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        print_json(plan.to_json())
        return
    rows = [(stage.stage, stage.action, stage.reason, stage.key[:12]) for stage in plan.stages]
    print_table(("stage", "action", "reason", "key"), rows)
    print()
    print_table(("estimate", "value", "how"), [(each.name, each.value, each.how) for each in plan.estimates])
    print()
    checks = [(check.name, "ok" if check.passed else "FAILS", check.found) for check in plan.checks]
    print_table(("check", "", "found"), checks)
    for check in plan.checks:
        if not check.passed and check.do:
            print(f"\n{check.name}: {check.do}")


def show_settings(loaded: LoadedSettings, *, as_json: bool) -> None:
    """Print every setting with its origin and the stages that it shapes."""
    entries = {
        name: {
            "value": _plain(field.value_in(loaded.settings)),
            "origin": loaded.origins[name],
            "shapes": list(field.shapes),
            "type": field.type_name,
            "bounds": field.bounds,
            "description": field.description,
        }
        for name, field in settings_fields().items()
    }
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            name,
            _shown(entry["value"]),
            str(entry["origin"]),
            ", ".join(entry["shapes"]) or "the run only",
            entry["bounds"] or entry["type"],
            entry["description"],
        )
        for name, entry in entries.items()
    ]
    print_table(("setting", "value", "from", "shapes", "values", "what"), rows)


def show_scores(scores: Mapping[str, Any], *, as_json: bool) -> None:
    """Print exact match and F1."""
    if as_json:
        print_json(scores)
        return
    print_table(("figure", "value"), [(name, _shown(value)) for name, value in scores.items()], right=("value",))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) and abs(value) >= 1 else str(value)
