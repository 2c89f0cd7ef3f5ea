"""Prefect's cache key of a stage's task: the domain's key, and the place of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from podsquad.config.section import StageName
from podsquad.stages.run import stage_ingredients
from podsquad.store.keys import key_of
from tasks.reference import ArtifactReference


@dataclass
class StageKey(CachePolicy):
    """The key of a stage. Key and result are one record: then a result that fails its check counts as none.

    A key storage of its own would break that, so none is ever configured.
    """

    stage: StageName = "download"

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """Return ``<stage>-<key>-<place>`` from the task's arguments: its settings and the references it is given.

        A reference holds the path of its store: in a copy of the store, where its record came along, it would lead
        back to the first one.
        """
        references = [value for value in inputs.values() if isinstance(value, ArtifactReference)]
        digests = {reference.stage: reference.digest for reference in references}
        settings = inputs["settings"]
        place = key_of({"store": str(settings.store.path.absolute())})[:8]
        return f"{self.stage}-{key_of(stage_ingredients(self.stage, settings, digests))}-{place}"
