"""The published model's README.md: what it is, what it was trained on and how, and what it reaches.

A pure function of what the stages recorded; it computes no figure of its own but shares and roundings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import podsquad
from podsquad.publishing.model_card_metadata import write_metadata
from podsquad.publishing.model_card_results import tell_gate, tell_results, tell_slices
from podsquad.publishing.model_card_training import (
    tell_command,
    tell_data,
    tell_hyper_parameters,
    tell_procedure,
    tell_versions,
)
from podsquad.publishing.model_card_words import dataset_name, public


def write_model_card(
    *,
    name: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    origin: Mapping[str, Any],
    report: Mapping[str, Any],
    layout: Mapping[str, Any] | None = None,
    gate: Mapping[str, Any] | None = None,
    architecture: str = "",
) -> str:
    """Return the model card as Markdown with YAML front matter (Hugging Face's ``model-index``).

    ``settings`` is ``Settings.model_dump(mode="json")``; ``metrics`` an evaluation's metrics.json; ``training`` a
    model's training.json and record/training.json (all keys optional; what is there is told); ``origin`` and ``report``
    a dataset's origin.json and validation_report.json; ``layout`` a features' layout.json; ``gate`` what the receipt
    tells of the gate; ``architecture`` the model's public class. Local paths in the settings are not told. Equal
    arguments give an equal card.
    """
    parts = [
        write_metadata(name, settings, metrics, origin),
        f"# {name}",
        _description(settings, metrics, origin, architecture),
    ]
    if training.get("emulated"):
        parts.append("**Made on an emulator.** No time on this page is that of an IPU.")
    parts += [
        "## Results\n\n" + tell_results(metrics, origin),
        "## How to use it\n\n" + _usage(settings),
        "## Data\n\n" + tell_data(origin, report, layout),
        "## Training\n\n" + tell_procedure(settings, training),
        "![Training loss](plots/loss.png)",
        "### How to make it again\n\n" + tell_command(settings, training, podsquad.__version__),
        "### Hyper-parameters\n\n" + tell_hyper_parameters(settings),
        "### Software\n\n" + tell_versions(training),
    ]
    if gate:
        parts.append("## The gate\n\n" + tell_gate(gate))
    parts += [
        "## Where it is weak\n\n" + tell_slices(metrics),
        "## Limitations\n\n" + _limitations(settings, metrics, origin, report),
    ]
    return "\n\n".join(parts) + "\n"


def _description(
    settings: Mapping[str, Any], metrics: Mapping[str, Any], origin: Mapping[str, Any], architecture: str
) -> str:
    model = settings["model"]
    if model["base"] == "scratch":
        begun = (
            f"A RoBERTa of {model['num_layers']} layers, width {model['hidden_size']} and {model['num_heads']} heads, "
            "trained from scratch"
        )
    elif model["base"] == "demo":
        begun = "The small encoder that ships with podsquad, fine-tuned"
    else:
        revision = f" at revision `{model['revision']}`" if model.get("revision") else ""
        begun = f"{public(model['base'])}{revision}, fine-tuned"
    kind = f" (a `{architecture}`)" if architecture else ""
    return (
        f"{begun}{kind} for extractive question answering on {dataset_name(origin)}: given a question and a text, it "
        "marks the span of the text that answers. It reaches an exact match of "
        f"**{metrics['exact_match']:.2f}** and an F1 of **{metrics['f1']:.2f}** on {metrics['num_questions']:,} "
        "validation questions."
    )


def _usage(settings: Mapping[str, Any]) -> str:
    features = settings["features"]
    return (
        "```\n"
        'podsquad ask --model FOLDER "Who wrote it?" --context "It was written by Ada."\n'
        "```\n\n"
        "Or load it with `AutoModelForQuestionAnswering` and `AutoTokenizer` of transformers. It was trained on "
        f"windows of at most {features['max_length']} tokens that share {features['stride']} tokens of a longer text."
    )


def _limitations(
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    origin: Mapping[str, Any],
    report: Mapping[str, Any],
) -> str:
    points = [
        "It always marks a span, also where the text holds no answer: it was trained on answerable questions alone.",
        f"It cannot answer with more than {metrics['max_answer_tokens']} tokens, nor with words that are not in the "
        "text.",
        "Its probabilities are shares among the best spans, not calibrated chances of being right.",
        "It repeats the biases of its training texts and of the encoder it started from.",
    ]
    if origin.get("source") == "demo":
        points.insert(0, "It was trained on a generated world to show that the system works; it knows no real text.")
    shared = report.get("contexts_in_several_splits", 0)
    if shared:
        points.append(f"{shared:,} paragraphs stand in both splits, so the score flatters the model on unseen text.")
    if settings["training"]["epochs"] and metrics["num_questions"] < 1000:
        points.append(
            f"{metrics['num_questions']:,} validation questions are few: expect some points of chance in the score."
        )
    return "\n".join(f"- {point}" for point in points)
