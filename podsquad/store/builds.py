"""The folders in which an artifact is built: they carry the token of the lease under which they were made."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from podsquad.store.durable import TEMPORARY_PREFIX
from podsquad.store.lease import Lease

_REPLACED = ".replaced"


def take_over(home: Path, key: str, lease: Lease, *, keep_work: bool) -> tuple[Path, Path]:
    """Return the folders to build in, which carry the lease's token; those of former writers are gone then.

    So whatever a former writer still writes, it writes nowhere. The newest work folder becomes this one's.
    """
    output, work = (home / kind / f"{key}.{lease.token}" for kind in (".staging", ".work"))
    for kind in (output.parent, work.parent):
        kind.mkdir(exist_ok=True)
    if keep_work and (former := _of_key(work.parent, key)):
        former[-1].rename(work)
    remove_builds(home, key, but=work)
    output.mkdir()
    work.mkdir(exist_ok=True)
    return output, work


def remove_builds(home: Path, key: str, but: Path | None = None) -> None:
    """Remove the folders of a key's former builds, each by one rename out of its writer's sight."""
    for leftover in (*_of_key(home / ".staging", key), *_of_key(home / ".work", key)):
        if leftover != but:
            leftover.rename(home / ".staging" / f"{TEMPORARY_PREFIX}{key}.{uuid.uuid4().hex}")
    for doomed in (home / ".staging").glob(f"{TEMPORARY_PREFIX}{key}.*"):
        shutil.rmtree(doomed, ignore_errors=True)


def _of_key(folder: Path, key: str) -> list[Path]:
    """Return the folders of a key, of the lowest token first."""
    found = {path: path.name.removeprefix(f"{key}.").removesuffix(_REPLACED) for path in folder.glob(f"{key}.*")}
    return sorted((path for path, token in found.items() if token.isdigit()), key=lambda path: int(found[path]))


def replaced_by(output: Path) -> Path:
    """Return where the artifact goes whose place ``output`` is to take."""
    return output.with_name(output.name + _REPLACED)


def restore_replaced(home: Path, key: str) -> None:
    """Put an artifact back that a kill between the two renames of its replacement left aside."""
    for replaced in (home / ".staging").glob(f"{key}.*{_REPLACED}"):
        if not (home / key).exists():
            replaced.rename(home / key)
