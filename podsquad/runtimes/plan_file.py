"""plan.json of an executable: what a runtime's compile verb wrote and its train verb reads.

Standard library only; runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podsquad.errors import DataError
from podsquad.store.durable import parse_json

PLAN_FILE = "plan.json"


def read_plan(executable: Path, format_version: int, device: str) -> dict[str, Any]:
    """Return an executable's plan; it is of that format and device. Raises DataError without one."""
    path = executable / PLAN_FILE
    try:
        plan: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        found = plan["format_version"], plan["device"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read the plan {path}: {error}",
            why="it is missing, cut short or was changed by hand",
            do="delete that executable; the next run makes it again",
        ) from error
    if found != (format_version, device):
        raise DataError(
            "the plan {} is of format {} for {}, not of format {} for {}".format(path, *found, format_version, device),
            why="another runtime or version of podsquad made it",
            do="delete that executable; the next run makes it again",
        )
    return plan
