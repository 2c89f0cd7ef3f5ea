"""Compiled programs as files: one folder per graph key, in the executable and, for prediction, in the model.

    <artifact>/programs/<graph key>/*.popef

poptorch writes to the folder that it reads, so every process works on a copy of its own. Runs on Python 3.8.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from podsquad.errors import DataError
from podsquad.runtimes.checkpoints import sha256_of
from podsquad.runtimes.plan_file import PLAN_FILE

PROGRAMS_FOLDER = "programs"


def copy_programs(artifact: Path, key: str, work: Path) -> Path:
    """Return a writable copy, in ``work``, of an artifact's programs of that key. Raises DataError without any."""
    source = artifact / PROGRAMS_FOLDER / key
    if not source.is_dir():
        raise DataError(
            f"{artifact.name} holds no programs of the graph {key}",
            why="it was made for other settings, or lost a part",
            do="run again with --refresh compile",
        )
    copy = no_programs(work)
    for path in source.iterdir():
        shutil.copyfile(str(path), str(copy / path.name))
    return copy


def no_programs(work: Path) -> Path:
    """Return an empty folder, in ``work``, for programs."""
    folder = work / PROGRAMS_FOLDER
    shutil.rmtree(str(folder), ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def hand_on_programs(artifact: Path, key: str, target: Path) -> None:
    """Let ``target`` hold the programs of ``artifact`` too: the same files, where the file system can link them."""
    folder = target / PROGRAMS_FOLDER / key
    folder.mkdir(parents=True)
    for path in sorted((artifact / PROGRAMS_FOLDER / key).iterdir()):
        try:
            os.link(str(path), str(folder / path.name))
        except OSError:
            shutil.copyfile(str(path), str(folder / path.name))


def take_over_earlier(executables: Path, key: str, versions: Mapping[str, str], folder: Path) -> str:
    """Fill ``folder`` with the programs of that key from an earlier executable; return its name, empty if none has any.

    ``executables`` holds artifacts of the compile stage; those that libraries of these ``versions`` made come first,
    because another's may not serve. A file whose bytes are not as its manifest says is not taken.
    """
    manifests = sorted(executables.glob("*/manifest.json"))
    for manifest in sorted(manifests, key=lambda manifest: _versions_of(manifest.parent) != versions):
        found = dict(_programs_of(manifest, key))
        if found and all(_is_whole(path, sha256) for path, sha256 in found.items()):
            for path in found:
                shutil.copyfile(str(path), str(folder / path.name))
            return manifest.parent.name
    return ""


def _versions_of(executable: Path) -> Any:
    try:
        return json.loads((executable / PLAN_FILE).read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _programs_of(manifest: Path, key: str) -> Iterator[tuple[Path, str]]:
    try:
        files: Any = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        for name, entry in files.items():
            if name.startswith(f"{PROGRAMS_FOLDER}/{key}/"):
                yield manifest.parent / name, entry["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False
