"""Versions of libraries, here and in another interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from podsquad.errors import SettingsError
from podsquad.stages.libraries import ABSENT, library_versions

NAMES = ("numpy", "surely-not-installed")


def another_spelling_of_this_interpreter() -> Path:
    """Return a path that is not sys.executable's and starts the same environment."""
    path = Path(sys.executable)
    return path.parent / ".." / path.parent.name / path.name


def test_versions_of_this_interpreter() -> None:
    assert library_versions(NAMES) == {"numpy": np.__version__, "surely-not-installed": ABSENT}
    assert library_versions(NAMES, Path(sys.executable)) == library_versions(NAMES)


def test_another_path_to_the_same_libraries_tells_the_same() -> None:
    python = another_spelling_of_this_interpreter()
    assert python != Path(sys.executable)
    assert library_versions(NAMES, python) == library_versions(NAMES)


def script(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo first >&2; echo broken environment >&2; exit 3", "it ended with exit code 3 (broken environment)"),
        ("exit 3", "it ended with exit code 3"),
        ("echo hello", "its answer is not what was asked for"),
        ("echo '[]'; exec true", "its answer is not what was asked for"),
    ],
    ids=["fails", "fails-silently", "no-json", "no-object"],
)
def test_an_interpreter_that_does_not_answer_is_told_in_a_line(text: str, told: str, tmp_path: Path) -> None:
    python = script(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        library_versions(NAMES, python)
    assert caught.value.what == f"cannot ask {python} for its libraries: {told}"
    assert caught.value.do == "check runtime.python"


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="for its libraries: No such file or directory"):
        library_versions(NAMES, tmp_path / "absent")


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    python = script(tmp_path, "exit 1")
    with pytest.raises(SettingsError):
        library_versions(("numpy",), python)
    script(tmp_path, 'echo \'{"numpy": "1.0"}\'')
    assert library_versions(("numpy",), python) == {"numpy": "1.0"}
