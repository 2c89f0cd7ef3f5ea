"""Interpreters in a runtime's place: they answer for its libraries as the genuine one, and then do as they are told."""

from __future__ import annotations

import sys
from pathlib import Path

HANG = 'echo \'{"event": "log", "message": "ready"}\'; exec sleep 600'
KILLED = 'echo \'{"event": "log", "message": "ready"}\'; kill -KILL $$'
GARBAGE = "head -c 3000 /dev/urandom; echo; exec sleep 600"
GARBAGE_AND_EXIT = "printf 'Segmentation fault (core dumped)\\n'; exit 139"


def interpreter(folder: Path, does: str) -> Path:
    """Write an interpreter for ``runtime.python``: ``does`` (shell) stands in for the runtime's program."""
    folder.mkdir(exist_ok=True)
    path = folder / "python"
    path.write_text(f'#!/bin/bash\nif [ "$1" = "-c" ]; then exec "{sys.executable}" "$@"; fi\n{does}\n')
    path.chmod(0o755)
    return path
