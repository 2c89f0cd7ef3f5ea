"""The verdict of a night without news: the target holds the very model, so that nothing is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podsquad.evaluation.gate import GateResult
from podsquad.publishing.target import Publication

_SCORES = ("exact_match", "f1", "num_questions")
_OF_THE_GATE = ("evaluation_digest", "margin_f1", "slice_margin_f1", "resamples", "seed", "num_earlier_uses")


def nothing_new(
    reason: str, held: Publication, model_digest: str, scores: Mapping[str, Any], gate: Mapping[str, Any]
) -> dict[str, Any]:
    """Return "unchanged" in the form of the publish stage's verdict.

    ``held`` is the champion, which is the challenger too, with its ``scores``. ``gate`` holds what the gate would have
    compared by, as a verdict has it.
    """
    result = GateResult(
        "unchanged", None, reason, model_digest, model_digest, **{name: gate[name] for name in _OF_THE_GATE}
    )
    known = {name: scores[name] for name in _SCORES}
    champion = {"tag": held.tag, "key": held.key, "is_rescored": False} | known
    return result.to_json() | {"is_published": False, "policy": "", "champion": champion, "challenger": known}
