"""The task of the tokenize stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("tokenize")
def tokenize(
    settings: Settings, dataset: ArtifactReference, *, refresh: frozenset[StageName] = frozenset()
) -> ArtifactReference:
    """Tokenize the questions into windows of features."""
    return run("tokenize", settings, (dataset,), refresh=refresh)
