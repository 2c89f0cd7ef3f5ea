"""Versions of installed distributions, here and in a runtime's interpreter."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from podsquad.errors import SettingsError

ABSENT = "absent"
_ASK = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = "absent"
print(json.dumps(versions))
"""


def library_versions(names: Iterable[str], python: Path | None = None) -> dict[str, str]:
    """Return the version of each distribution, "absent" where there is none; none of them is imported.

    ``python`` None: this interpreter's; else that one's, which is asked once per process. Raises SettingsError when
    it cannot be asked.
    """
    if python is None or Path(python) == Path(sys.executable):
        return {name: _version(name) for name in names}
    return dict(_ask(Path(python), tuple(names)))


@cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


@cache
def _ask(python: Path, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    try:
        answer = subprocess.run(
            [str(python), "-c", _ASK, *names], capture_output=True, text=True, timeout=60, check=True
        )
        return tuple(json.loads(answer.stdout).items())
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"cannot ask {python} for its libraries: {_told(error)}",
            why="runtime.python must name a Python interpreter",
            do="check runtime.python",
        ) from error


def _told(error: Exception) -> str:
    """Say what happened without the program's text, which a subprocess's error repeats."""
    if isinstance(error, subprocess.CalledProcessError):
        last = str(error.stderr).strip().splitlines()[-1:]
        return f"it ended with exit code {error.returncode}" + (f" ({last[0]})" if last else "")
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it did not answer within {error.timeout:g} seconds"
    return (error.strerror if isinstance(error, OSError) else "") or "its answer is not what was asked for"
