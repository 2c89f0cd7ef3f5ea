"""Run one stage: find its key, reuse its artifact or build it, and say why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.errors import DataError, PodsquadError, TemporaryError
from podsquad.reporting import Reporter, marked
from podsquad.stages.catalog import STAGES
from podsquad.stages.libraries import library_versions
from podsquad.stages.resolved import key_settings, mark_of
from podsquad.stages.runtimes import runtime_libraries, runtime_modules
from podsquad.stages.stage import Building
from podsquad.store.artifacts import Artifact, Lookup, Store, WhyStale
from podsquad.store.durable import parse_json, write_json
from podsquad.store.keys import Ingredients, differences, key_of, make_ingredients
from podsquad.store.source import code_digests, function_digest

BUILD_RECORD = "record/build.json"


@dataclass(frozen=True)
class StageOutcome:
    """What running a stage came to."""

    artifact: Artifact
    is_reused: bool
    reason: str
    seconds: float


def stage_ingredients(name: StageName, settings: Settings, input_digests: Mapping[StageName, str]) -> Ingredients:
    """Return what the output of a stage depends on. Raises InputMissingError, SettingsError."""
    stage = STAGES[name]
    libraries = library_versions(stage.libraries)
    modules = stage.modules
    if stage.verb:
        modules += runtime_modules(settings, stage.verb)
        runtime = library_versions(runtime_libraries(settings), settings.runtime.python)
        libraries |= {f"runtime {library}": version for library, version in runtime.items()}
    return make_ingredients(
        stage=name,
        format_version=stage.format_version,
        settings=key_settings(settings, name),
        inputs={input_name: input_digests[input_name] for input_name in stage.inputs},
        code=code_digests(modules) | function_digest(stage.build),
        libraries=libraries,
    )


def run_stage(
    name: StageName,
    settings: Settings,
    inputs: Mapping[StageName, Artifact],
    *,
    refresh_for: str = "",
    reporter: Reporter,
) -> StageOutcome:
    """Return the stage's artifact from the store, built if need be.

    ``refresh_for`` names the run that asks for one that was built for it. Called again with the same name, it returns
    what the call before built. Where that was not done it goes on from what it left, as any refresh does.

    Raises what the stage's builder raises, InputMissingError, StoreError, and DataError when a file that a setting
    names changed meanwhile; nothing half-made is left visible.
    """
    started = time.monotonic()
    word = mark_of(settings, name)
    if word:
        reporter.mark(word)
    stage, store = STAGES[name], Store(settings.store.path, settings.store.lease_seconds)
    ingredients = stage_ingredients(name, settings, {key: artifact.digest for key, artifact in inputs.items()})
    key = key_of(ingredients)
    why_stale = why_not_reused(name, refresh_for)
    found = store.look_up(name, key, why_stale)
    reason = explain(store, ingredients, found)
    if not found.artifact:
        reporter.log(f"{name} runs: {reason}")

    def build(output: Path, work: Path, handle: int) -> None:
        try:
            stage.build(Building(settings, inputs, output, work, key, reporter, inherited=(handle,)))
        except PodsquadError as error:
            error.what = marked(word, error.what)
            raise
        _refuse_changed(name, ingredients["settings"], key_settings(settings, name))
        (output / BUILD_RECORD).parent.mkdir(exist_ok=True)
        seconds = round(time.monotonic() - started, 3)
        record = {"seconds": seconds, "reason": reason, "profile": settings.profile, "refresh": refresh_for}
        write_json(output / BUILD_RECORD, record)

    artifact, is_reused = store.ensure(
        ingredients, build, is_refresh=bool(refresh_for), why_stale=why_stale, log=reporter.log
    )
    seconds = time.monotonic() - started
    reporter.log(f"{name} reuses {key}" if is_reused else f"{name} is done in {seconds:.1f} s: {artifact.path}")
    return StageOutcome(artifact, is_reused, reason if not is_reused else "unchanged", seconds)


def why_not_reused(name: StageName, refresh_for: str) -> WhyStale:
    """Return what says of a stage's whole artifact why it is not reused; see ``run_stage`` for ``refresh_for``."""

    def why(artifact: Path) -> str:
        if refresh_for and _refreshed_for(artifact) != refresh_for:
            return "refresh was asked for"
        return STAGES[name].why_stale(artifact)

    return why


def _refreshed_for(artifact: Path) -> str:
    try:
        return str(parse_json((artifact / BUILD_RECORD).read_bytes())["refresh"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""  # nobody's


def _refuse_changed(stage: StageName, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise DataError when a file or folder that a setting names has other content than the stage's key was made of."""
    if changed := [setting for setting in before if before[setting] != after[setting]]:
        raise DataError(
            f"what {' and '.join(changed)} names was changed while the stage {stage} read it",
            why="the stage's key stands for the former content, so nothing that was read may be kept under it",
            do="run the same again when nobody writes there any more",
        )


def reopen(store: Path, name: StageName, key: str, digest: str) -> Artifact:
    """Return the artifact that a reference names, verified, if it can still be reused.

    Raises TemporaryError when it is gone, damaged, another one or stale: the next run of its stage builds it again.
    """
    found = Store(store).look_up(name, key, STAGES[name].why_stale)
    if found.artifact is None or found.artifact.digest != digest:
        problem = found.problem or ("is another one" if found.artifact else "is gone")
        raise TemporaryError(
            f"the artifact {name}/{key} {problem}",
            why="a file of it was changed, or it was removed, after the stage ended",
            do="run the same command again: it is built again",
        )
    return found.artifact


def explain(store: Store, ingredients: Ingredients, found: Lookup) -> str:
    """Say why the stage is reused or must run: what is damaged, or what differs from the artifact that is nearest."""
    if found.artifact:
        return "unchanged"
    if found.problem:
        return found.problem if found.is_stale else f"its artifact {found.problem}"
    others = [differences(other, ingredients) for other in store.ingredients(ingredients["stage"])]
    nearest = min(others, key=len, default=["nothing made yet"])
    return "; ".join(nearest) or "its artifact is not in its place"
