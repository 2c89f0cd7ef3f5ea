"""``verdicts.jsonl`` of a store: every verdict of the gate, in the order in which they came.

A line is added and on the disk before the publish stage ends; none is ever changed or removed, not by ``podsquad gc``
nor by a later verdict on the same model. So neither a publication is forgotten, nor how often an evaluation set was
used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podsquad.errors import from_os_error
from podsquad.store.durable import canonical_json, flush_folder, parse_object

VERDICTS_FILE = "verdicts.jsonl"


def remember_verdict(store: Path, record: Mapping[str, Any]) -> None:
    """Add a verdict, durably. Raises StoreError (DiskFullError) when the store cannot be written."""
    path = store / VERDICTS_FILE
    line = canonical_json(record).encode() + b"\n"
    try:
        store.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                # A line that a kill or a full disk cut short: the new one begins after it.
                line = line if file.read(1) == b"\n" else b"\n" + line
            if (written := file.write(line)) != len(line):  # a disk that has just become full; the rest says so
                file.write(line[written:])
            os.fsync(file.fileno())
        flush_folder(store)
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
