"""The task of the publish stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("publish")
def publish(
    settings: Settings,
    dataset: ArtifactReference,
    features: ArtifactReference,
    model: ArtifactReference,
    evaluation: ArtifactReference,
    *,
    refresh: frozenset[StageName] = frozenset(),
) -> ArtifactReference:
    """Publish the model with its card."""
    return run("publish", settings, (dataset, features, model, evaluation), refresh=refresh)
