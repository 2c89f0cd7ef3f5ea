"""What can be known to go wrong before anything runs: each check with what it found and the way out."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podsquad.config.publish_settings import PublishSettings
from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings
from podsquad.errors import DiskFullError, PodsquadError, SettingsError, StoreError, error_named, from_os_error
from podsquad.pod import launcher_command, pod_checks
from podsquad.publishing.hub_rights import check_rights
from podsquad.publishing.places import hub_of, target_of
from podsquad.publishing.target import refuse_lost
from podsquad.runtimes.emulator import packages_for
from podsquad.runtimes.ipu.checks import PodCheck
from podsquad.runtimes.ipu.sdk import NO_SDK_DO, NO_SDK_WHY, check_pinned, check_versions, how_to_install
from podsquad.stages.libraries import ABSENT, library_versions
from podsquad.stages.resolved import key_settings, resolve_device, unpinned_names
from podsquad.stages.runtimes import RUNTIMES

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

    @classmethod
    def of_pod(cls, check: PodCheck) -> Check:
        """Return a check of the POD's plan as one of these."""
        return cls(check.name, check.passed, check.found, check.why, check.do, "" if check.passed else "SettingsError")


def run_checks(
    settings: Settings, features: Path | None = None, *, publish: bool = True, block_is_read: bool = True
) -> tuple[Check, ...]:
    """Run every check. Never raises: what is wrong is in the checks. Nothing is written.

    ``features`` is the artifact that the run will train on, where it is there already. ``publish`` False: the run ends
    after evaluate, so that where the model would go does not matter. ``block_is_read`` False: the Secret block that
    publish.token_block may name is read later, so that no other token is tried in its place.
    """
    checks: tuple[Check, ...] = (
        _checked("store", lambda: _writable(settings.store.path, "store.path")),
        _checked("disk", lambda: _free_space(settings.store.path, "store.path")),
        _checked("inputs", lambda: _inputs(settings)),
        _checked("runtime", lambda: _runtime(settings)),
    )
    checks += _of_target(settings.publish, block_is_read) if publish else ()
    return checks + _of_pod(settings, features) if settings.runtime.name == "ipu" else checks


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


def _of_target(settings: PublishSettings, block_is_read: bool) -> tuple[Check, ...]:
    """Check the target; what it holds is looked at where nothing is wrong with the target itself."""
    if settings.target == "hub" and settings.token_block and not block_is_read:
        return (
            _checked("publication", lambda: _hub_later(settings)),
            Check("champion", True, "the champion is looked at when the run begins"),
        )
    if settings.target == "hub":
        checks: tuple[Check, ...] = (_checked("publication", lambda: _hub_rights(settings)),)
    else:
        checks = (
            _checked("publication", lambda: _writable(settings.folder, "publish.folder")),
            _checked("target's disk", lambda: _free_space(settings.folder, "publish.folder")),
        )
    whole = all(check.passed for check in checks)
    return (*checks, _checked("champion", lambda: _champion(settings))) if whole else checks


def _hub_rights(settings: PublishSettings) -> str:
    return check_rights(hub_of(settings), settings.private)


def _hub_later(settings: PublishSettings) -> str:
    hub_of(settings)  # raises SettingsError where no repository is named
    return f"the token of the Secret block {settings.token_block} is checked when the run begins"


def _champion(settings: PublishSettings) -> str:
    """Tell what the night will be compared with, and what is not as it was published, which the night puts right."""
    with target_of(settings) as target:
        state = target.state()
        refuse_lost(target, state)
        if state.champion is None:
            return f"there is none yet in {target.place}"
        why = target.why_not_held(state.champion.key)
    return f"{state.champion.tag} in {target.place}" + (f"; {why}" if why else "")


def _writable(folder: Path, setting: str) -> str:
    nearest = _nearest_existing(folder)
    if not nearest.is_dir():
        raise StoreError(
            f"{setting} {folder} cannot be a folder: {nearest} is a file",
            why="folders are made as they are needed, but never in a file's place",
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
    runtime = RUNTIMES[settings.runtime.name]
    python = settings.runtime.python
    if python is not None and not python.exists():
        raise SettingsError(
            f"runtime.python names {python}, which is not there",
            why=f"it is looked for from {Path.cwd()}",
            do=NO_SDK_DO if _needs_sdk(settings) else runtime.install,
        )
    versions = library_versions(runtime.libraries, python)
    absent = [name for name in runtime.libraries if versions[name] == ABSENT]
    if settings.runtime.name == "ipu":
        return _ipu(settings, versions, absent)
    if absent:
        raise _lacks(settings, absent)
    device = resolve_device(settings.runtime.device)
    reason = " (auto)" if settings.runtime.device == "auto" else ""
    return f"{settings.runtime.name} {versions['torch']} on {device}{reason}"


def _ipu(settings: Settings, versions: dict[str, str], absent: list[str]) -> str:
    told = ", ".join(f"{name} {versions[name]}" for name in ("optimum-graphcore", "transformers", "torch"))
    found, python = f"ipu: {told}", str(settings.runtime.python or sys.executable)
    if settings.runtime.emulated:
        packages_for(python)  # raises SettingsError where there is a real one
        if lacking := [name for name in absent if name != "poptorch"]:
            raise _lacks(settings, lacking)
        check_pinned(versions, python, is_emulated=True)
        return f"{found}, poptorch emulated on this machine's CPU"
    if "poptorch" in absent:
        raise SettingsError(
            f"there is no Poplar SDK: the runtime's interpreter, {settings.runtime.python or 'this one'}, has no "
            "poptorch",
            why=NO_SDK_WHY,
            do=NO_SDK_DO,
        )
    if absent:
        raise _lacks(settings, absent, do=how_to_install(python, is_emulated=False))
    sdk = check_versions(versions["poptorch"], versions["torch"])
    check_pinned(versions, python, is_emulated=False)
    return f"{found}, SDK {sdk}"


def _needs_sdk(settings: Settings) -> bool:
    return settings.runtime.name == "ipu" and not settings.runtime.emulated


def _lacks(settings: Settings, absent: list[str], do: str = "") -> SettingsError:
    return SettingsError(
        f"the runtime {settings.runtime.name} lacks {', '.join(absent)}",
        why=f"its interpreter, {settings.runtime.python or 'this one'}, does not have them installed",
        do=do or RUNTIMES[settings.runtime.name].install,
    )


def _of_pod(settings: Settings, features: Path | None) -> tuple[Check, ...]:
    """Check the POD's plan, and that compiled programs can be kept."""
    cache = _checked("executables", lambda: _writable_cache(settings))
    try:
        checks = [Check.of_pod(check) for check in pod_checks(settings, features)]
        checks.append(_checked("hosts", lambda: _hosts(settings)))
    except PodsquadError as error:
        checks = [Check.failed("POD", error)]
    return (cache, *checks)


def _writable_cache(settings: Settings) -> str:
    _writable(settings.store.path / "compile", "store.path")
    temporary = Path(tempfile.gettempdir())
    if not os.access(temporary, os.W_OK | os.X_OK):
        raise StoreError(
            f"the temporary folder {temporary} cannot be written",
            why="the Poplar SDK keeps files there while it compiles",
            do="set TMPDIR to a folder that this user may write to",
        )
    return "compiled programs are kept in the store, one folder for each graph"


def _hosts(settings: Settings) -> str:
    command = launcher_command(settings, "train")
    if command and shutil.which(command[0]) is None:
        raise SettingsError(
            f"the plan takes several hosts, and {command[0]} is not on the PATH",
            why="it starts the program on each of them, and comes with the Poplar SDK",
            do="enable the SDK (source its enable.sh), or take a smaller ipu.pod",
        )
    return "under " + " ".join(command) if command else "one host"


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
