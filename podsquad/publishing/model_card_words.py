"""How the model card writes values: tables, settings, and what it does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SQUAD = ("rajpurkar/squad", "squad")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def is_hub_name(text: str) -> bool:
    """Tell whether a text can be the name of a repository on the Hub."""
    return bool(_HUB_NAME.fullmatch(text))


def public(value: object) -> str:
    """Return a Hub name or a keyword as it is, and of a path nothing: it says who trained, not what."""
    text = str(value)
    if is_hub_name(text):
        return f"[{text}](https://huggingface.co/{text})"
    return f"`{text}`" if re.fullmatch(r"[\w.-]+", text) else "a local folder"


def shown(value: object) -> str:
    """Return a setting's value."""
    return "not set" if value is None else f"`{value}`"


def dataset_name(origin: Mapping[str, Any]) -> str:
    """Return what the data is called: a Hub dataset, the demo world, or files known by checksum alone."""
    if origin.get("source") == "hub":
        return "SQuAD v1.1" if origin.get("dataset") in _SQUAD else str(origin["dataset"])
    if origin.get("source") == "demo":
        return "podsquad demo world (generated)"
    digest = origin.get("files", {}).get("validation", {}).get("sha256", "")
    return f"files in SQuAD v1.1 layout (validation SHA-256 {digest[:12]})"


def is_english(origin: Mapping[str, Any]) -> bool:
    """Tell whether the data is known to be English."""
    return origin.get("source") == "demo" or (origin.get("source") == "hub" and origin.get("dataset") in _SQUAD)
