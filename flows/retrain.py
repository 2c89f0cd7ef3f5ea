"""The night: download, tokenize, compile, train, evaluate, publish.

Each stage is a task whose result is kept under the domain's key, so a stage whose inputs did not change is shown as
cached. A failure that can heal is tried again; any other ends the run at once, and the next run goes on from there.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import flow

from flows.report import report_run
from podsquad.config.load import load_settings
from podsquad.config.settings import ProfileName, StageName
from podsquad.errors import TemporaryError
from podsquad.preflight import first_failure, run_checks
from tasks.compile import compile_program
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.publish import publish
from tasks.reference import ArtifactReference
from tasks.stage_task import configured
from tasks.tokenize import tokenize
from tasks.train import train


@flow(name="retrain", flow_run_name="{profile}", log_prints=False, validate_parameters=True)
def retrain(
    profile: ProfileName = "demo",
    overrides: dict[str, Any] | None = None,
    refresh: list[StageName] | None = None,
) -> dict[str, Any]:
    """Retrain a question-answering model, from the questions to the published folder.

    Args:
        profile: The set of settings to begin with.
        overrides: Settings that differ from the profile, by dotted name, as training.learning_rate.
        refresh: Stages to run in any case.
    """
    settings = load_settings(profile, overrides, os.environ).settings
    if failure := first_failure(run_checks(settings)):
        raise failure
    again = frozenset(refresh or ())
    outcomes: list[ArtifactReference] = []

    def run(stage: Any, *inputs: ArtifactReference) -> ArtifactReference:
        state = configured(stage, settings, again)(settings, *inputs, refresh=again, return_state=True)
        if state.name == "TimedOut":
            raise TemporaryError(
                f"the stage {stage.name} took longer than {settings.retry.stage_timeout_seconds:g} seconds",
                why="that is what retry.stage_timeout_seconds allows one attempt",
                do="run the same again: it goes on from there; or allow more time",
            )
        reference: ArtifactReference = state.result()
        if state.name == "Cached":
            reference = reference.model_copy(update={"is_reused": True, "reason": "unchanged", "seconds": 0.0})
        outcomes.append(reference)
        return reference

    dataset = run(download)
    features = run(tokenize, dataset)
    executable = run(compile_program, features)
    model = run(train, features, executable)
    evaluation = run(evaluate, dataset, features, model)
    run(publish, dataset, features, model, evaluation)
    return report_run(profile, outcomes)
