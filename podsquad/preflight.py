"""What can be known to go wrong before anything runs: each check with what it found and the way out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings
from podsquad.errors import DiskFullError, PodsquadError, SettingsError, StoreError, error_named, from_os_error
from podsquad.stages.catalog import STAGES
from podsquad.stages.libraries import ABSENT, library_versions
from podsquad.stages.resolved import key_settings, resolve_device, unpinned_names

LEAST_FREE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Check:
    """One check and what it came to."""

    name: str
    passed: bool
    found: str
    why: str = ""
    do: str = ""
    error: str = ""  # name of the error class that a failed check stands for

    @classmethod
    def failed(cls, name: str, error: PodsquadError) -> Check:
        """Return the failed check that tells of ``error``."""
        return cls(name, False, error.what, error.why, error.do, type(error).__name__)


def run_checks(settings: Settings) -> tuple[Check, ...]:
    """Run every check. Never raises: what is wrong is in the checks. Nothing is written."""
    return tuple(
        check
        for name, find in (
            ("store", lambda: _writable(settings.store.path, "store.path")),
            ("publication", lambda: _writable(settings.publish.folder, "publish.folder")),
            ("disk", lambda: _free_space(settings.store.path, "store.path")),
            ("target's disk", lambda: _free_space(settings.publish.folder, "publish.folder")),
            ("inputs", lambda: _inputs(settings)),
            ("runtime", lambda: _runtime(settings)),
        )
        for check in [_checked(name, find)]
    )


def first_failure(checks: tuple[Check, ...]) -> PodsquadError | None:
    """Return the error that the first failed check stands for; None when all passed."""
    for check in checks:
        if not check.passed:
            return error_named(check.error)(check.found, why=check.why, do=check.do)
    return None


def _checked(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name, True, find())
    except PodsquadError as error:
        return Check.failed(name, error)
    except OSError as error:
        return Check.failed(name, from_os_error(error, f"checking the {name}"))


def _writable(folder: Path, setting: str) -> str:
    nearest = _nearest_existing(folder)
    if not nearest.is_dir():
        raise StoreError(
            f"{setting} {folder} cannot be a folder: {nearest} is a file",
            do=f"choose another folder with --set {setting}=FOLDER",
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreError(
            f"{setting} {folder} cannot be written",
            why=f"this user may not write to {nearest}",
            do=f"make it writable, or choose another folder with --set {setting}=FOLDER",
        )
    return f"{folder} can be written"


def _free_space(folder: Path, setting: str) -> str:
    free_bytes = shutil.disk_usage(_nearest_existing(folder)).free
    if free_bytes < LEAST_FREE_BYTES:
        raise DiskFullError(
            f"only {free_bytes / 2**20:,.0f} MiB are free where {setting} lies",
            why=f"less than {LEAST_FREE_BYTES / 2**20:,.0f} MiB do not hold even a small run",
            do=f"free some space, or set {setting} to a larger disk",
        )
    return f"{free_bytes / 2**30:,.1f} GiB free"


def _inputs(settings: Settings) -> str:
    for stage in STAGE_NAMES:
        key_settings(settings, stage)  # raises InputMissingError for a path that is not there
    found = "all files and folders that the settings name are there"
    if unpinned := unpinned_names(settings):
        found += f"; {' and '.join(unpinned)} should have a revision: what the Hub holds under that name may change"
    return found


def _runtime(settings: Settings) -> str:
    names = STAGES["train"].runtime_libraries
    versions = library_versions(names, settings.runtime.python)
    if absent := [name for name in names if versions[name] == ABSENT]:
        raise SettingsError(
            f"the runtime {settings.runtime.name} lacks {', '.join(absent)}",
            why=f"its interpreter, {settings.runtime.python or 'this one'}, does not have them installed",
            do='install them with: pip install "podsquad[torch]"',
        )
    device = resolve_device(settings.runtime.device)
    reason = " (auto)" if settings.runtime.device == "auto" else ""
    return f"{settings.runtime.name} {versions['torch']} on {device}{reason}"


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
