"""The form in which a verdict is told: as JSON, in the publish stage's artifact, in a run's report and in its views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podsquad.evaluation.gate import GateResult
from podsquad.evaluation.report import SCORES
from podsquad.publishing.target import Publication

_OF_THE_GATE = ("evaluation_digest", "margin_f1", "slice_margin_f1", "resamples", "seed", "num_earlier_uses")


def told(
    result: GateResult,
    champion: Mapping[str, Any] | None,
    challenger: Mapping[str, Any],
    *,
    is_published: bool = False,
    policy: str = "",
) -> dict[str, Any]:
    """Return a verdict as it is told.

    ``champion``: tag, key and scores, and whether it was scored again for this; ``challenger``: its metrics.
    ``policy`` says what follows where nothing could be compared. What an emulation had part in says so.
    """
    form = result.to_json() | {
        "is_published": is_published,
        "policy": policy,
        "champion": None if champion is None else dict(champion),
        "challenger": {name: challenger[name] for name in SCORES},
    }
    return form | ({"emulated": True} if challenger.get("emulated") else {})


def nothing_new(
    reason: str, held: Publication, model_digest: str, scores: Mapping[str, Any], gate: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the verdict of a night without news: the target holds the very model, so that nothing is compared.

    ``held`` is the champion, which is the challenger too; ``scores`` are its metrics. ``gate`` holds what the gate
    would have compared by, as a verdict has it.
    """
    result = GateResult(
        "unchanged", None, reason, model_digest, model_digest, **{name: gate[name] for name in _OF_THE_GATE}
    )
    champion = {"tag": held.tag, "key": held.key, "is_rescored": False} | {name: scores[name] for name in SCORES}
    return told(result, champion, scores)
