"""The published model's README.md: what it is, what it was trained on and how, and what it reaches.

A pure function of what the stages recorded; it computes no figure of its own but shares and roundings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from podsquad.evaluation.plots import TITLES
from podsquad.evaluation.report import slice_table

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TORCH_ALONE = ("micro_batch_tokens", "max_gradient_norm", "balanced")  # of the training's settings
_TRAINING_ROWS = (
    ("steps", "optimizer steps", "{:,}"),
    ("mean_loss", "mean loss", "{:.4f}"),
    ("final_loss", "loss of the last step", "{:.4f}"),
    ("seconds", "time", "{:,.1f} s"),
    ("samples_per_second", "features per second", "{:,.1f}"),
    ("parameters", "parameters", "{:,}"),
    ("num_parameters", "parameters", "{:,}"),
)


def write_model_card(
    *,
    name: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    origin: Mapping[str, Any],
    report: Mapping[str, Any],
    layout: Mapping[str, Any] | None = None,
    loss_picture: str | None = "plots/loss.png",
    slices_picture: str | None = "plots/f1_by_slice.png",
) -> str:
    """Return the model card as Markdown with YAML front matter (Hugging Face's ``model-index``).

    ``settings`` is ``Settings.model_dump(mode="json")``; ``metrics`` an evaluation's metrics.json;
    ``training`` a model's training.json (all keys optional; ``device`` or ``hardware``, ``versions`` and
    ``emulated`` are told where they are there); ``origin`` and ``report`` a dataset's origin.json and
    validation_report.json; ``layout`` a features' layout.json. Local paths in the settings are not told.
    Equal arguments give an equal card.
    """
    parts = [
        _front_matter(name, settings, metrics, origin),
        f"# {name}",
        _description(settings, metrics, origin),
    ]
    if training.get("emulated"):
        parts.append("**Made on an emulator.** No time on this page is that of an IPU.")
    parts += [
        "## Results\n\n" + _results(metrics, origin),
        "## How to use it\n\n" + _usage(settings),
        "## Data\n\n" + _data(origin, report, layout),
        "## Training\n\n" + _procedure(settings, training),
    ]
    if loss_picture:
        parts.append(f"![Training loss]({loss_picture})")
    parts.append("### Hyper-parameters\n\n" + _hyper_parameters(settings))
    parts.append("### Software\n\n" + _versions(training))
    parts.append("## Where it is weak\n\n" + _slices(metrics, slices_picture))
    parts.append("## Limitations\n\n" + _limitations(settings, metrics, origin, report))
    return "\n\n".join(parts) + "\n"


def dataset_name(origin: Mapping[str, Any]) -> str:
    """Return what the data is called: a Hub dataset, the demo world, or files known by checksum alone."""
    if origin.get("source") == "hub":
        return "SQuAD v1.1" if _is_squad(origin) else str(origin["dataset"])
    if origin.get("source") == "demo":
        return "podsquad demo world (generated)"
    digest = origin.get("files", {}).get("validation", {}).get("sha256", "")
    return f"files in SQuAD v1.1 layout (validation SHA-256 {digest[:12]})"


def _is_squad(origin: Mapping[str, Any]) -> bool:
    return origin.get("dataset") in ("rajpurkar/squad", "squad")


def _front_matter(name: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    # Quoted as JSON, which YAML reads: a name such as "no" or "1.0" stays a text.
    def quoted(text: object) -> str:
        return json.dumps(str(text), ensure_ascii=False)

    source = origin.get("source")
    dataset_type = {"hub": origin.get("dataset"), "demo": "podsquad-demo-world"}.get(str(source), "squad-files")
    lines = ["---", "library_name: transformers", "pipeline_tag: question-answering"]
    lines += ["tags:", "- question-answering", "- extractive-qa", "- podsquad"]
    base = str(settings["model"]["base"])
    if _HUB_NAME.fullmatch(base):
        lines.append(f"base_model: {quoted(base)}")
    if source == "hub":
        lines += ["datasets:", f"- {quoted(dataset_type)}"]
    lines += ["metrics:", "- exact_match", "- f1", "model-index:", f"- name: {quoted(name)}", "  results:"]
    lines += ["  - task:", "      type: question-answering", "      name: Question Answering", "    dataset:"]
    lines += [f"      type: {quoted(dataset_type)}", f"      name: {quoted(dataset_name(origin))}"]
    lines.append("      split: validation")
    if origin.get("revision"):
        lines.append(f"      revision: {quoted(origin['revision'])}")
    lines.append("    metrics:")
    for kind, label in (("exact_match", "Exact match"), ("f1", "F1")):
        value = round(float(metrics[kind]), 4)
        lines += [f"    - type: {kind}", f"      name: {label}", f"      value: {value}"]
    return "\n".join([*lines, "---"])


def _description(settings: Mapping[str, Any], metrics: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    model = settings["model"]
    if model["base"] == "scratch":
        begun = (
            f"A RoBERTa of {model['num_layers']} layers, width {model['hidden_size']} and "
            f"{model['num_heads']} heads, "
            "trained from scratch"
        )
    else:
        revision = f" at revision `{model['revision']}`" if model.get("revision") else ""
        begun = f"{_public(model['base'])}{revision}, fine-tuned"
    return (
        f"{begun} for extractive question answering on {dataset_name(origin)}: given a question and a "
        "text, it marks "
        f"the span of the text that answers. It reaches an exact match of **{metrics['exact_match']:.2f}** "
        "and an F1 "
        f"of **{metrics['f1']:.2f}** on {metrics['num_questions']:,} validation questions."
    )


def _results(metrics: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    return _table(
        ("measure", "value"),
        [
            ("exact match", f"{metrics['exact_match']:.4f} %"),
            ("F1", f"{metrics['f1']:.4f} %"),
            ("questions", f"{metrics['num_questions']:,}"),
            ("questions without any span", f"{metrics.get('num_empty', 0):,}"),
            ("data", f"validation split of {dataset_name(origin)}"),
            (
                "answers",
                f"best span of at most {metrics['max_answer_tokens']} tokens out of {metrics['num_best']} "
                "starts and "
                "ends per window, as run_qa.py of Hugging Face chooses",
            ),
            ("measured", "as the official program evaluate-v1.1 does"),
        ],
    )


def _usage(settings: Mapping[str, Any]) -> str:
    features = settings["features"]
    return (
        "```\n"
        'podsquad ask --model FOLDER "Who wrote it?" --context "It was written by Ada."\n'
        "```\n\n"
        "Or load it with `AutoModelForQuestionAnswering` and `AutoTokenizer` of transformers. It was "
        "trained on windows "
        f"of at most {features['max_length']} tokens that share {features['stride']} tokens of a longer text."
    )


def _data(origin: Mapping[str, Any], report: Mapping[str, Any], layout: Mapping[str, Any] | None) -> str:
    rows = []
    for split, counts in report["splits"].items():
        checksum = origin.get("splits", {}).get(split, {}).get("records_sha256", "")
        features = (layout or {}).get("splits", {}).get(split, {}).get("num_features")
        rows.append(
            (
                split,
                f"{counts['kept']:,}",
                f"{counts['contexts']:,}",
                f"{counts['quarantined']:,}",
                f"{features:,}" if isinstance(features, int) else "-",
                f"`{checksum[:16]}`" if checksum else "-",
            )
        )
    table = _table(("split", "questions", "paragraphs", "set aside", "features", "SHA-256 of the records"), rows)
    told = {
        "hub": f"`{origin.get('dataset')}` at revision `{origin.get('revision')}`.",
        "demo": f"A world of made-up facts, generated from seed {origin.get('seed')}; nothing in it is real.",
        "files": "Files in the layout of SQuAD v1.1; SHA-256 "
        + ", ".join(f"{split} `{file['sha256']}`" for split, file in origin.get("files", {}).items())
        + ".",
    }
    return told.get(str(origin.get("source")), "") + "\n\n" + table


def _procedure(settings: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    recipe = settings["training"]
    hardware = training.get("hardware") or training.get("device_name") or training.get("device")
    threads = f", {training['threads']} threads" if training.get("device") == "cpu" and "threads" in training else ""
    rows = [("hardware", f"{hardware}{threads}" if hardware else "not recorded")]
    for key, label, form in _TRAINING_ROWS:
        value = training.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            rows.append((label, form.format(value)))
    epochs = f"{recipe['epochs']} epoch{'s' if recipe['epochs'] != 1 else ''}"
    return (
        f"{epochs} in batches of {recipe['batch_size']} features, AdamW, the learning rate rising over "
        f"{recipe['warmup_share']:.0%} of the steps and falling linearly to 0.\n\n" + _table(("what", "value"), rows)
    )


def _hyper_parameters(settings: Mapping[str, Any]) -> str:
    rows = []
    is_ipu = settings.get("runtime", {}).get("name") == "ipu"
    for section in ("training", "ipu", "features") if is_ipu else ("training", "features"):
        for key, value in settings[section].items():
            if key in ("workers", "checkpoint_interval_steps", "hosts", "partition", "config_file"):
                continue  # they alter no number
            if is_ipu and key in _TORCH_ALONE:
                continue
            if key == "vocab_size" and settings[section]["tokenizer"] != "train":
                continue  # the tokenizer brings its own
            shown = _public(value) if key == "tokenizer" else _shown(value)
            rows.append((f"{section}.{key}", shown))
    return _table(("setting", "value"), rows)


def _versions(training: Mapping[str, Any]) -> str:
    versions = training.get("versions")
    if not isinstance(versions, Mapping) or not versions:
        return "Versions were not recorded."
    return _table(("library", "version"), [(str(key), str(versions[key])) for key in sorted(versions)])


def _slices(metrics: Mapping[str, Any], picture: str | None) -> str:
    parts = [f"![F1 by kind of question]({picture})"] if picture else []
    parts += [f"**{TITLES.get(view, view)}**\n\n{slice_table(slices)}" for view, slices in metrics["slices"].items()]
    return "\n\n".join(parts)


def _limitations(
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    origin: Mapping[str, Any],
    report: Mapping[str, Any],
) -> str:
    points = [
        "It always marks a span, also where the text holds no answer: it was trained on answerable questions alone.",
        f"It cannot answer with more than {metrics['max_answer_tokens']} tokens, nor with words that are "
        "not in the "
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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _public(value: object) -> str:
    """Return a Hub name or a keyword as it is, and of a path nothing: it says who trained, not what."""
    text = str(value)
    if _HUB_NAME.fullmatch(text):
        return f"[{text}](https://huggingface.co/{text})"
    return f"`{text}`" if re.fullmatch(r"[\w.-]+", text) else "a local folder"


def _shown(value: object) -> str:
    return "not set" if value is None else f"`{value}`"
