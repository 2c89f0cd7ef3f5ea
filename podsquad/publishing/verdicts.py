"""``verdicts.jsonl`` of a store: every verdict of the gate, in the order in which they came.

A line is added and on the disk before the publish stage ends; none is ever changed or removed, not by ``podsquad gc``
nor by a later verdict on the same model. So neither a publication is forgotten, nor how often an evaluation set was
used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podsquad.errors import from_os_error
from podsquad.store.durable import append_line, canonical_json, parse_object

VERDICTS_FILE = "verdicts.jsonl"


def remember_verdict(store: Path, record: Mapping[str, Any]) -> None:
    """Add a verdict, durably. Raises StoreError (DiskFullError) when the store cannot be written."""
    path = store / VERDICTS_FILE
    line = canonical_json(record).encode()
    try:
        store.mkdir(parents=True, exist_ok=True)
        append_line(path, line)
    except OSError as error:
        raise from_os_error(error, f"writing {path}") from error


def read_verdicts(store: Path) -> list[dict[str, Any]]:
    """Return the verdicts that the store remembers, the oldest first; a line that cannot be read is left out.

    Raises StoreError when the file is there and cannot be read.
    """
    path = store / VERDICTS_FILE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error(error, f"reading {path}") from error
    found = []
    for line in lines:
        try:
            found.append(parse_object(line))
        except ValueError:
            continue
    return found
