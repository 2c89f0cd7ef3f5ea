"""Checkpoints: complete or absent.

    <folder>/step-00000100/model.safetensors      named groups of arrays
                           optimizer.safetensors
                           state.json             what is not an array
                           manifest.json          sizes and SHA-256 of the others, and the fingerprint; written last

A checkpoint is built aside, flushed, and appears by one rename. A damaged one is set aside (``*.damaged``) and the
one before it used. A checkpoint whose fingerprint differs (other settings, data, libraries) is never used. No pickle
anywhere. Needs numpy and safetensors and runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from podsquad.errors import os_error_of
from podsquad.store.durable import TEMPORARY_PREFIX, move_folder, parse_json, write_json

MANIFEST_FILE = "manifest.json"
STATE_FILE = "state.json"
FORMAT_VERSION = 1
KEPT = 2
_NAME = re.compile(r"step-(\d{8,})")
_SUFFIX = ".safetensors"
_DAMAGED = ".damaged"


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: ``arrays[group][name]`` and ``state``, as they were saved at ``step``."""

    step: int
    arrays: dict[str, dict[str, np.ndarray]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training in ``folder``, which is made if it is not there, in a folder that is.

    ``fingerprint`` is a text that is equal for trainings that may go on from each other's checkpoints.
    """

    def __init__(self, folder: Path, fingerprint: str, log: Callable[[str, str], None]) -> None:
        """Clear away what a killed writer left. ``log`` gets a message and its level ("info" or "warning")."""
        self._folder = folder
        self._fingerprint = fingerprint
        self._log = log
        folder.mkdir(exist_ok=True)  # without parents: where the work folder is gone, another writer took it over
        for path in folder.glob(TEMPORARY_PREFIX + "*"):
            shutil.rmtree(path, ignore_errors=True)

    def save(self, step: int, arrays: Mapping[str, Mapping[str, np.ndarray]], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint durably and drop all but the newest two; return its folder.

        ``state`` holds JSON values. When this returns, a crash of the machine cannot take the checkpoint away; when
        it raises (OSError), the earlier ones stand untouched.
        """
        target = self._folder / f"step-{step:08d}"
        aside = self._folder / (TEMPORARY_PREFIX + uuid.uuid4().hex)
        aside.mkdir()
        try:
            for group, named in arrays.items():
                _save_arrays(named, aside / (group + _SUFFIX))
            write_json(aside / STATE_FILE, dict(state))
            files = {path.name: _describe(path) for path in sorted(aside.iterdir())}
            manifest = {
                "format_version": FORMAT_VERSION,
                "fingerprint": self._fingerprint,
                "step": step,
                "files": files,
            }
            write_json(aside / MANIFEST_FILE, manifest)
            replaced = self._folder / (TEMPORARY_PREFIX + uuid.uuid4().hex)
            move_folder(aside, target, replaced)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
        self._prune()
        return target

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole and of this training; None when there is none.

        A damaged one is renamed to ``*.damaged`` with a warning in the log.
        """
        for step, path in sorted(self._found(), reverse=True):
            try:
                manifest = _read_manifest(path)
                if manifest["fingerprint"] != self._fingerprint or manifest["format_version"] != FORMAT_VERSION:
                    self._log(f"{path.name} is of a training with other settings or data: not used", "info")
                    continue
                return _read(path, step, manifest)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
                self._set_aside(path, f"{type(error).__name__}: {error}")
        return None

    def _found(self) -> list[tuple[int, Path]]:
        matches = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return [(int(match.group(1)), path) for match, path in matches if match]

    def _set_aside(self, path: Path, reason: str) -> None:
        target = path.with_name(path.name + _DAMAGED)
        self._remove(target)
        os.rename(path, target)
        self._log(f"the checkpoint {path.name} is damaged ({reason}): set aside as {target.name}", "warning")

    def _prune(self) -> None:
        ours: list[tuple[int, Path]] = []
        others: list[tuple[int, Path]] = []
        for step, path in self._found():
            try:
                mine = _read_manifest(path)["fingerprint"] == self._fingerprint
            except (OSError, ValueError, KeyError, TypeError):
                mine = False
            (ours if mine else others).append((step, path))
        for _, path in others + sorted(ours)[:-KEPT]:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        if path.exists():
            # By way of a name that nobody reads: a kill half-way must not leave something that looks damaged.
            doomed = self._folder / (TEMPORARY_PREFIX + uuid.uuid4().hex)
            os.rename(path, doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _save_arrays(named: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        # order="C" and not ascontiguousarray, which makes a number an array of one.
        save_file({name: np.asarray(array, order="C") for name, array in named.items()}, str(path))
    except SafetensorError as error:
        raise os_error_of(error, str(path)) or OSError(str(error)) from error


def _describe(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes. Raises OSError as the system does."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            piece = file.read(1 << 20)
            if not piece:
                return hashed.hexdigest()
            hashed.update(piece)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = parse_json((path / MANIFEST_FILE).read_bytes())
    return manifest


def _read(path: Path, step: int, manifest: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint's files after checking each against the manifest. Raises ValueError on any difference."""
    if manifest["step"] != step:
        raise ValueError(f"its manifest says step {manifest['step']}")
    files: Mapping[str, Any] = manifest["files"]
    for name, described in files.items():
        if _describe(path / name) != described:
            raise ValueError(f"{name} differs from the manifest")
    groups = [name[: -len(_SUFFIX)] for name in files if name.endswith(_SUFFIX)]
    arrays = {group: dict(load_file(str(path / (group + _SUFFIX)))) for group in groups}
    state = parse_json((path / STATE_FILE).read_bytes())
    return Checkpoint(step, arrays, state)
