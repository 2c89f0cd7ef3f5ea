"""What a run would do, before it does it: which stages run or are reused and why, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError, StoreError
from podsquad.estimates import Estimate, estimate
from podsquad.preflight import Check, run_checks
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import explain, stage_ingredients, why_not_reused
from podsquad.store.artifacts import Store
from podsquad.store.keys import key_of

Action = Literal["run", "reuse"]
_COUNTED_IN: tuple[StageName, StageName] = ("tokenize", "compile")


@dataclass(frozen=True)
class PlannedStage:
    """What would happen to one stage."""

    stage: StageName
    action: Action
    reason: str
    key: str  # empty where it depends on an artifact that is still to be made
    path: str  # of the artifact that would be reused; empty if none


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    profile: str
    stages: tuple[PlannedStage, ...]
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]

    @property
    def is_clear(self) -> bool:
        """Tell whether no check stands in the way."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {**asdict(self), "is_clear": self.is_clear}


def make_plan(settings: Settings, refresh_for: Mapping[StageName, str] | None = None) -> Plan:
    """Find out what a run would do; nothing is built, and nothing is written.

    ``refresh_for`` names for each stage to run in any case the run that asks for it, as ``run_stage`` takes it.

    An input that is damaged and has to be made again is taken to come out as before, which its manifest tells. Raises
    StoreError when the store cannot be read; what the pre-flight finds is in ``checks``.
    """
    store = Store(settings.store.path)
    digests: dict[StageName, str] = {}
    planned: dict[StageName, PlannedStage] = {}
    for name in STAGE_NAMES:
        planned[name] = _plan_stage(name, settings, store, digests, (refresh_for or {}).get(name, ""), planned)
    features, executable = (Path(path) if (path := planned[name].path) else None for name in _COUNTED_IN)
    return Plan(
        profile=settings.profile,
        stages=tuple(planned.values()),
        estimates=estimate(settings, features, executable),
        checks=run_checks(settings, features),
    )


def _plan_stage(
    name: StageName,
    settings: Settings,
    store: Store,
    digests: dict[StageName, str],
    refresh_for: str,
    planned: dict[StageName, PlannedStage],
) -> PlannedStage:
    """Plan one stage after those that it reads; its digest, where it can be told, goes into ``digests``."""
    missing = [needed for needed in STAGES[name].inputs if needed not in digests]
    if missing:
        return PlannedStage(name, "run", f"its input changes: {' and '.join(missing[-1:])} runs", "", "")
    try:
        ingredients = stage_ingredients(name, settings, digests)
    except PodsquadError as error:
        return PlannedStage(name, "run", error.what, "", "")
    key = key_of(ingredients)
    try:
        found = store.look_up(name, key, why_not_reused(name, refresh_for))
    except StoreError:
        raise
    except PodsquadError as error:  # what the artifact tells of cannot be asked
        return PlannedStage(name, "run", error.what, key, "")
    if found.artifact:
        digests[name] = found.artifact.digest
        return PlannedStage(name, "reuse", "unchanged", key, str(found.artifact.path))
    if found.expected_digest:
        digests[name] = found.expected_digest
    return PlannedStage(name, "run", explain(store, ingredients, found), key, "")
