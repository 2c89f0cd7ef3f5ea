"""What a run would do, before it does it: which stages run or are reused and why, and what stands in its way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError, StoreError
from podsquad.estimates import Estimate, estimate
from podsquad.preflight import Check, run_checks
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import explain, stage_ingredients
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


def make_plan(settings: Settings, refresh: frozenset[StageName] = frozenset()) -> Plan:
    """Find out what a run would do; nothing is built, and nothing is written.

    An input that is damaged and has to be made again is taken to come out as before, which its manifest tells. Raises
    StoreError when the store cannot be read; what the pre-flight finds is in ``checks``.
    """
    store = Store(settings.store.path)
    digests: dict[StageName, str] = {}
    planned: dict[StageName, PlannedStage] = {}
    for name in STAGE_NAMES:
        planned[name] = _plan_stage(name, settings, store, digests, name in refresh, planned)
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
    refresh: bool,
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
        found = store.look_up(name, key, STAGES[name].why_stale)
    except StoreError:
        raise
    except PodsquadError as error:  # what the artifact tells of cannot be asked
        return PlannedStage(name, "run", error.what, key, "")
    if found.artifact and not refresh:
        digests[name] = found.artifact.digest
        return PlannedStage(name, "reuse", "unchanged", key, str(found.artifact.path))
    if expected := (found.artifact.digest if found.artifact else found.expected_digest):
        digests[name] = expected
    reason = "refresh was asked for" if refresh else explain(store, ingredients, found)
    return PlannedStage(name, "run", reason, key, "")
