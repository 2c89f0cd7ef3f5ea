"""The task of the download stage."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from tasks.reference import ArtifactReference
from tasks.stage_task import run, stage_task


@stage_task("download")
def download(settings: Settings, *, refresh: frozenset[StageName] = frozenset()) -> ArtifactReference:
    """Download SQuAD and check every record."""
    return run("download", settings, refresh=refresh)
