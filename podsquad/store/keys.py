"""Keys of artifacts: what a stage's output depends on, as a record, its hash, and differences in words.

The *ingredients* of a stage are everything that shapes its output: its name and format version, the settings that
shape it, the digests of its input artifacts, the source of its modules, the versions of its libraries. Never a
clock, a run's id or a path. The key is the SHA-256 of their canonical JSON; the record is kept beside the artifact,
so that a later run can say which ingredient changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from podsquad.store.durable import canonical_json

Ingredients = dict[str, Any]
KEY_DIGITS = 32
_UNKNOWN = "unknown"  # in place of a value whose name one of two records lacks


def make_ingredients(
    *,
    stage: str,
    format_version: int,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    code: Mapping[str, str],
    libraries: Mapping[str, str],
) -> Ingredients:
    """Return the record whose hash is the stage's key; all values are JSON."""
    return {
        "stage": stage,
        "format": format_version,
        "settings": dict(settings),
        "inputs": dict(inputs),
        "code": dict(code),
        "libraries": dict(libraries),
    }


def key_of(ingredients: Ingredients) -> str:
    """Return the key: 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(ingredients).encode()).hexdigest()[:KEY_DIGITS]


def differences(old: Ingredients, new: Ingredients) -> list[str]:
    """Say in words what is different between two records of one stage, settings first; empty if nothing is."""
    found = []
    for name, before, after in _changed(old, new, "settings"):
        found.append(f"{name} {_shown(before)} -> {_shown(after)}")
    found += [f"input {name} changed" for name, _, _ in _changed(old, new, "inputs")]
    for name, before, after in _changed(old, new, "libraries"):
        found.append(f"{name} {_shown(before)} -> {_shown(after)}")
    if code := [name for name, _, _ in _changed(old, new, "code")]:
        found.append("code changed: " + ", ".join(code[:3]) + (f" and {len(code) - 3} more" if len(code) > 3 else ""))
    if old.get("format") != new.get("format"):
        found.append(f"format {old.get('format')} -> {new.get('format')}")
    return found


def _changed(old: Ingredients, new: Ingredients, part: str) -> list[tuple[str, Any, Any]]:
    # Compared as the key sees them: 1, 1.0 and true are three values, and a name that is not there is not null.
    before, after = ({name: canonical_json(value) for name, value in each.get(part, {}).items()} for each in (old, new))
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [(name, old.get(part, {}).get(name, _UNKNOWN), new.get(part, {}).get(name, _UNKNOWN)) for name in names]


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"content {value['sha256'][:8]}"
    return "none" if value is None else str(value)
