"""The task of the train stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("train")
def train(
    settings: Settings,
    features: ArtifactReference,
    executable: ArtifactReference,
    *,
    refresh: frozenset[StageName] = frozenset(),
) -> ArtifactReference:
    """Train the model in a process of its own."""
    return run("train", settings, (features, executable), refresh=refresh)
