"""The task of the compile stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("compile")
def compile_program(
    settings: Settings, features: ArtifactReference, *, refresh: frozenset[StageName] = frozenset()
) -> ArtifactReference:
    """Compile the plan and the program of the training."""
    return run("compile", settings, (features,), refresh=refresh)
