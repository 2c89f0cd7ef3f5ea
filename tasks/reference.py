"""What a task returns: a reference to an artifact, small, JSON, and checked whenever it is loaded.

Prefect keeps it as the task's result. Loading it in a later run verifies the artifact; where that fails Prefect takes
it for no result and runs the task again, which builds what is missing. So a deleted or damaged artifact is never
trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from podsquad.config.section import StageName
from podsquad.stages.run import StageOutcome, reopen
from podsquad.store.artifacts import Artifact


class ArtifactReference(BaseModel):
    """An artifact of the store, by stage, key and digest, and how the task came to it."""

    model_config = ConfigDict(frozen=True)

    stage: StageName
    key: str
    digest: str
    store: str
    is_reused: bool
    reason: str
    seconds: float

    @classmethod
    def of(cls, outcome: StageOutcome, store: Path) -> ArtifactReference:
        """Return the reference to a stage's outcome in the store at that path."""
        artifact = outcome.artifact
        return cls(
            stage=artifact.stage,
            key=artifact.key,
            digest=artifact.digest,
            store=str(store.absolute()),
            is_reused=outcome.is_reused,
            reason=outcome.reason,
            seconds=outcome.seconds,
        )

    def artifact(self) -> Artifact:
        """Return the artifact, verified. Raises TemporaryError when it is not there as it was."""
        return reopen(Path(self.store), self.stage, self.key, self.digest)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        self.artifact()
        return self
