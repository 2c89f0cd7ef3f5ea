"""The front matter of a model card: YAML that the Hub renders, with the results as its ``model-index``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from podsquad.publishing.model_card_words import dataset_name, is_english, is_hub_name


def write_metadata(
    name: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], origin: Mapping[str, Any]
) -> str:
    """Return the front matter with its rules of dashes; scores rounded to four digits."""
    source = origin.get("source")
    dataset_type = {"hub": origin.get("dataset"), "demo": "podsquad-demo-world"}.get(str(source), "squad-files")
    lines = ["---", "library_name: transformers", "pipeline_tag: question-answering"]
    if is_english(origin):
        lines.append("language: en")
    lines += ["tags:", "- question-answering", "- extractive-qa", "- podsquad"]
    base = str(settings["model"]["base"])
    if is_hub_name(base):
        lines.append(f"base_model: {_quoted(base)}")
    if source == "hub":
        lines += ["datasets:", f"- {_quoted(dataset_type)}"]
    lines += ["metrics:", "- exact_match", "- f1", "model-index:", f"- name: {_quoted(name)}", "  results:"]
    lines += ["  - task:", "      type: question-answering", "      name: Question Answering", "    dataset:"]
    lines += [f"      type: {_quoted(dataset_type)}", f"      name: {_quoted(dataset_name(origin))}"]
    lines.append("      split: validation")
    if origin.get("revision"):
        lines.append(f"      revision: {_quoted(origin['revision'])}")
    lines.append("    metrics:")
    for kind, label in (("exact_match", "Exact match"), ("f1", "F1")):
        value = round(float(metrics[kind]), 4)
        lines += [f"    - type: {kind}", f"      name: {label}", f"      value: {value}"]
    return "\n".join([*lines, "---"])


def _quoted(text: object) -> str:
    # Quoted as JSON, which YAML reads: a name such as "no" or "1.0" stays a text.
    return json.dumps(str(text), ensure_ascii=False)
