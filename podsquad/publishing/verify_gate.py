"""Whether what a receipt tells of the gate follows from its scores, and its verdict from the gate's own figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podsquad.publishing.findings import Finding
from podsquad.publishing.receipt import Receipt
from podsquad.publishing.version_files import gate_seed, model_digest

_TOLERANCE = 1e-6  # the gate tells six digits, and a machine's order of adding shows in the last
_UNCOMPARED = ("first", "unchanged", "incomparable")  # verdicts without figures under which a version may come in


def verify_gate(receipt: Receipt) -> Iterator[Finding]:
    """Yield what becomes of the verdict, and what of it nobody can recompute who has this version alone."""
    if receipt.gate is None:
        yield Finding("receipt", "gate", "not checked", "the receipt tells of no gate")
        return
    try:
        fault = next(_faults(receipt, receipt.gate), "")
    except (KeyError, TypeError, AttributeError):
        fault = "it has not the form in which podsquad writes it"
    yield Finding("receipt", "gate", "changed" if fault else "ok", fault)
    told = "what was published before is no part of this version, so its score, the bounds and the margins are as told"
    yield Finding("receipt", "gate.champion", "not checked", told)


def _faults(receipt: Receipt, gate: Mapping[str, Any]) -> Iterator[str]:
    scores, verdict, overall = receipt.scores, gate["verdict"], gate["overall"]
    if gate["evaluation_digest"] != scores.evaluation_digest:
        yield "it judged on other questions than those of the scores"
    if gate["seed"] != gate_seed(model_digest({name: entry.sha256 for name, entry in receipt.published.items()})):
        yield "its seed does not follow from the model"
    if gate["cause"] is not None:
        yield f"a version that is published has no cause of a rejection, as {gate['cause']!r} is one"
    if (gate["champion"] is None) is not (verdict == "first"):
        yield f"the verdict {verdict} does not go with the champion {gate['champion']}"
    if verdict in _UNCOMPARED:
        if overall is not None or gate["slices"]:
            yield f"the verdict {verdict} rests on no comparison"
    elif verdict != "promoted":
        yield f"no version is published under the verdict {verdict}"
    elif overall is None:
        yield f"the verdict {verdict} lacks the comparison that it rests on"
    else:
        yield from _comparison_faults(receipt, gate, overall)


def _comparison_faults(receipt: Receipt, gate: Mapping[str, Any], overall: Mapping[str, Any]) -> Iterator[str]:
    scores, ours = receipt.scores, overall["challenger_f1"]
    if abs(ours - scores.f1) > _TOLERANCE or overall["num_questions"] != scores.num_questions:
        yield f"it judged an F1 of {ours} on {overall['num_questions']} questions, and the scores are others"
    if abs(ours - overall["champion_f1"] - overall["difference_f1"]) > 2 * _TOLERANCE:
        yield "its difference is not that of its two F1"
    if overall["lower_f1"] < -gate["margin_f1"]:
        yield f"its lower bound {overall['lower_f1']} lies below the margin, so it is not promoted"
    for part in gate["slices"]:
        found, name = part["difference"], part["name"]
        is_fallen = found is not None and found["upper_f1"] < -gate["slice_margin_f1"]
        if part["state"] not in ("held", "not_judged") or (is_fallen and part["state"] == "held"):
            yield f"the slice {name} fell, so it is not promoted"
