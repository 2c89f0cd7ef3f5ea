"""The canary: the night's stages once more in a scratch store, without publish, and compared with what there is.

A drift fails the run, so that whoever is told of failed runs is told of it.
"""

# No "from __future__ import annotations": Prefect loads a deployed flow by its file and could not resolve them.
import logging
import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, Failed

from flows.form import Changes, merged
from flows.retrain import retrain
from podsquad.canary import compare, scratch_store
from podsquad.canary_reference import find_reference
from podsquad.canary_view import canary_view
from podsquad.config.load import load_settings
from podsquad.config.settings import ProfileName
from tasks.hub_token import hub_token
from tasks.page import log_to_page, run_name, show

_logger = logging.getLogger("podsquad.canary")


@flow(name="canary", flow_run_name=run_name, persist_result=False, result_serializer="json")
def canary(
    profile: ProfileName = "demo",
    changes: Changes = Changes(),  # noqa: B008 - frozen; a default of None would make the form's box a choice
    keep: bool = False,
    note: str = "",
    overrides: dict[str, Any] = {},  # noqa: B006 - never changed, as above
) -> dict[str, Any]:
    """Train the same model again, and fail if it does not come out the same, byte for byte.

    Args:
        profile: The set of settings to begin with.
        changes: The settings that people change most. What is empty is as the profile says.
        keep: Keep what was made, to look at it; the next canary removes it.
        note: Why this run is made: anything that you want to read on its page.
        overrides: Any other settings, by dotted name, as {"training.weight_decay": 0.02}.
    """
    log_to_page()
    chosen = merged(changes, overrides)
    settings = load_settings(profile, chosen, os.environ, set_by="the form").settings
    with hub_token(settings.publish.token_block):
        reference = find_reference(settings, _logger.info)
    _logger.info("canary reproduces %s", reference.told)
    with scratch_store(settings.store.path, keep=keep) as scratch:
        # The night's own body, within this run: a run of its own would have a second page, and no heartbeats.
        made = retrain.fn(profile=profile, publish=False, note=note, overrides={**chosen, "store.path": str(scratch)})
        compared = compare(reference, {stage["stage"]: Path(stage["path"]) for stage in made.data["stages"]})
    show(profile, lambda: [canary_view(compared)])
    report = compared.to_json() | {"profile": profile, "note": note, "scratch": str(scratch) if keep else None}
    state = Completed if compared.verdict == "reproduced" else Failed
    return state(message=compared.summary, data=report)  # whoever calls the flow gets the report
