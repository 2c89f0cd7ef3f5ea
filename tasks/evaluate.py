"""The task of the evaluate stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("evaluate")
def evaluate(
    settings: Settings,
    dataset: ArtifactReference,
    features: ArtifactReference,
    model: ArtifactReference,
    *,
    refresh: frozenset[StageName] = frozenset(),
) -> ArtifactReference:
    """Answer and score the validation questions."""
    return run("evaluate", settings, (dataset, features, model), refresh=refresh)
