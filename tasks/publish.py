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
    executable: ArtifactReference,
    model: ArtifactReference,
    evaluation: ArtifactReference,
    *,
    refresh: frozenset[StageName] = frozenset(),
) -> ArtifactReference:
    """Ask the gate, and publish the model with its card and receipt if it passes."""
    return run("publish", settings, (dataset, features, executable, model, evaluation), refresh=refresh)
