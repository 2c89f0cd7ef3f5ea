"""What a model reaches, for its card: scores, slices, and what the gate said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podsquad.evaluation.plots import TITLES
from podsquad.evaluation.report import slice_table
from podsquad.publishing.model_card_words import dataset_name, table

_VERDICTS = {
    "promoted": "it took the place of the model that was published before",
    "first": "there was no model before it",
    "unchanged": "it is the model that was published before",
    "incomparable": "the model that was published before was not scored on these questions",
}


def tell_results(metrics: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """Return the scores, with all that a reader must know to compare them."""
    return table(
        ("measure", "value"),
        [
            ("exact match", f"{metrics['exact_match']:.4f} %"),
            ("F1", f"{metrics['f1']:.4f} %"),
            ("questions", f"{metrics['num_questions']:,}"),
            ("questions without any span", f"{metrics.get('num_empty', 0):,}"),
            ("data", f"validation split of {dataset_name(origin)}"),
            (
                "answers",
                f"best span of at most {metrics['max_answer_tokens']} tokens out of {metrics['num_best']} starts and "
                "ends per window, as run_qa.py of Hugging Face chooses",
            ),
            ("measured", "as the official program evaluate-v1.1 does"),
        ],
    )


def tell_slices(metrics: Mapping[str, Any]) -> str:
    """Return the scores by kind of question."""
    parts = ["![F1 by kind of question](plots/f1_by_slice.png)"]
    parts += [f"**{TITLES.get(view, view)}**\n\n{slice_table(slices)}" for view, slices in metrics["slices"].items()]
    return "\n\n".join(parts)


def tell_gate(gate: Mapping[str, Any]) -> str:
    """Return the gate's verdict and what it rests on; ``gate`` is what the receipt tells of it."""
    verdict = str(gate["verdict"])
    parts = [f"**{verdict}**: {_VERDICTS[verdict]}. {gate['reason']}"]
    overall = gate.get("overall")
    if overall:
        rows = [("the model before", f"`{gate['champion']}`")] if gate.get("champion") else []
        if gate.get("is_rescored"):
            rows.append(("its F1", "of the same questions, on which it was scored again: its own card tells another"))
        rows += [
            ("F1 before and now", f"{overall['champion_f1']:.4f} and {overall['challenger_f1']:.4f}"),
            (
                "difference",
                f"{overall['difference_f1']:+.4f}, between {overall['lower_f1']:+.4f} and {overall['upper_f1']:+.4f}; "
                f"each bound with {overall['confidence']:.4%} confidence",
            ),
            ("margin", f"{gate['margin_f1']:g}"),
            ("questions and articles", f"{overall['num_questions']:,} and {overall['num_articles']:,}"),
        ]
        parts.append(table(("comparison", "value"), rows))
    if slices := gate.get("slices"):
        judged = [(each["name"], each["state"].replace("_", " "), _difference(each["difference"])) for each in slices]
        parts.append(table(("guarded slice", "state", "difference"), judged))
    return "\n\n".join(parts)


def _difference(difference: Mapping[str, Any] | None) -> str:
    return "-" if difference is None else f"{difference['difference_f1']:+.4f}"
