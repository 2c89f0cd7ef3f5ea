"""What the six tasks have in common: how Prefect keeps, retries and shows a stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from prefect import Task, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError
from podsquad.stages.run import run_stage, stage_ingredients, why_not_reused
from podsquad.store.artifacts import Store
from podsquad.store.keys import key_of
from tasks.caching import StageKey
from tasks.progress import PrefectProgress
from tasks.records import StageRecords
from tasks.reference import ArtifactReference

RESULTS_FOLDER = ".prefect"  # inside the store, so that whoever has the store has the results
_JITTER = 0.3


def stage_task(stage: StageName) -> Callable[[Callable[..., ArtifactReference]], Task[..., ArtifactReference]]:
    """Make a function the task of a stage."""
    return task(
        name=stage,
        task_run_name=stage,
        cache_policy=StageKey(stage=stage),
        persist_result=True,
        result_serializer="json",
        retry_condition_fn=can_heal,
    )


def configured(
    stage: Task[..., ArtifactReference], settings: Settings, refresh: frozenset[StageName]
) -> Task[..., ArtifactReference]:
    """Return the task with the retries, the timeout and the result storage that the settings ask for."""
    retry = settings.retry
    task = stage.with_options(
        retries=retry.retries,
        retry_delay_seconds=exponential_backoff(backoff_factor=retry.delay_seconds) if retry.retries else None,
        retry_jitter_factor=_JITTER,
        timeout_seconds=retry.stage_timeout_seconds,
        refresh_cache=stage.name in refresh,
    )
    # Not among the options: those take a block only when the server has it, so that others find it there. Nobody else
    # reads these records.
    task.result_storage = StageRecords(basepath=str(settings.store.path.absolute() / RESULTS_FOLDER))
    return task


def run(
    stage: StageName, settings: Settings, inputs: tuple[ArtifactReference, ...] = (), *, refresh: frozenset[StageName]
) -> ArtifactReference:
    """Run a stage of the domain and return the reference to what it made."""
    outcome = run_stage(
        stage,
        settings,
        {reference.stage: reference.artifact() for reference in inputs},
        refresh_for=this_run() if stage in refresh else "",
        reporter=PrefectProgress(stage),
    )
    return ArtifactReference.of(outcome, settings.store.path)


def refreshed(stage: StageName, settings: Settings, inputs: tuple[ArtifactReference, ...]) -> bool:
    """Tell whether this run of the flow has refreshed a stage already, in an attempt before this one."""
    digests = {reference.stage: reference.digest for reference in inputs}
    try:
        key = key_of(stage_ingredients(stage, settings, digests))
        return Store(settings.store.path).look_up(stage, key, why_not_reused(stage, this_run())).artifact is not None
    except PodsquadError:
        return False  # the stage meets the same, and tells it


def this_run() -> str:
    """Return the name of this run of the flow, which its attempts share, whoever tries again.

    Outside of one, a name of its own each time.
    """
    return str(flow_run.id or uuid4())


def can_heal(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether the same again may succeed: the error says so, or the attempt took too long.

    Prefect asks only while attempts are left, and tells a terminal nothing of it: the log does.
    """
    error = state.result(raise_on_failure=False)
    # Prefect tells an attempt that took too long by its error alone: the state is not named TimedOut yet.
    heals = isinstance(error, TimeoutError) or (isinstance(error, PodsquadError) and error.heals)
    if heals:
        what = error.what if isinstance(error, PodsquadError) else "the attempt took too long"
        logging.getLogger(f"podsquad.{task.name}").warning("%s is tried again: %s", task.name, what)
    return heals
