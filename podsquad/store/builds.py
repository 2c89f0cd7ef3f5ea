"""The folders in which an artifact is built: their names end in the suffix of the lease under which they were made.

A writer may stand still anywhere here and wake when another one has taken its place. So it moves or removes only what
it saw before it last found its lease held, which cannot be the other's, and looks at its lease again when its own
folders are there: a successor that comes later sees them and takes them away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from pathlib import Path

from podsquad.store.durable import TEMPORARY_PREFIX
from podsquad.store.lease import Lease
from podsquad.store.removal import remove

LEASES, STAGING, WORK, DAMAGED = ".leases", ".staging", ".work", ".damaged"  # beside a stage's artifacts
_REPLACED = ".replaced"
REFRESH_MARK = ".refresh"  # in a refresh's work folder: the inode of what it builds, which stays the same in its place


def take_over(home: Path, key: str, lease: Lease, *, is_refresh: bool) -> tuple[Path, Path]:
    """Return the folders to build in, which are this lease's alone; those of former writers are gone then.

    So whatever a former writer still writes, it writes nowhere. The newest work folder becomes this one's; a refresh's
    only if it is of a refresh that did not come to its end. Raises FileNotFoundError, and has done nothing to a
    successor, when the lease is not held any more.
    """
    output, work = (home / kind / f"{key}.{lease.suffix}" for kind in (STAGING, WORK))
    for kind in (output.parent, work.parent):
        kind.mkdir(exist_ok=True)
    former = unfinished_refresh(home, key) if is_refresh else _newest_work(home, key)
    check_held(lease, output)
    if former:
        with contextlib.suppress(FileNotFoundError):  # a former writer that just woke was faster, and fails now
            former.rename(work)
    remove_builds(home, key, lease, but=work)
    output.mkdir()
    work.mkdir(exist_ok=True)
    try:
        check_held(lease, output)
    except FileNotFoundError:
        for folder in (output, work):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    if is_refresh or (work / REFRESH_MARK).exists():
        (work / REFRESH_MARK).write_text(_inode(output), encoding="utf-8")
    return output, work


def unfinished_refresh(home: Path, key: str) -> Path | None:
    """Return the newest work folder of a key if a refresh left it before what it built was in its place."""
    work = _newest_work(home, key)
    with contextlib.suppress(FileNotFoundError):
        if work and (work / REFRESH_MARK).read_text(encoding="utf-8") != _inode(home / key):
            return work
    return None


def _newest_work(home: Path, key: str) -> Path | None:
    found = _of_key(home / WORK, key)
    return found[-1] if found else None


def _inode(folder: Path) -> str:
    return str(folder.stat().st_ino) if folder.exists() else "none"


def check_held(lease: Lease, path: Path) -> None:
    """Raise FileNotFoundError for ``path``, which is not this writer's any more, when its lease is not held."""
    if not lease.is_held():
        raise gone(path)


def gone(path: Path) -> FileNotFoundError:
    """Return the system's error for what is not there any more."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def remove_builds(home: Path, key: str, lease: Lease, but: Path | None = None) -> None:
    """Remove the folders of a key's former builds, each by one rename out of its writer's sight.

    Raises FileNotFoundError, and removes nothing, when the lease is not held any more.
    """
    leftovers = [path for kind in (STAGING, WORK) for path in _of_key(home / kind, key) if path != but]
    check_held(lease, home)
    for leftover in leftovers:
        with contextlib.suppress(FileNotFoundError):  # as above
            leftover.rename(home / STAGING / f"{TEMPORARY_PREFIX}{key}.{uuid.uuid4().hex}")
    for doomed in (home / STAGING).glob(f"{TEMPORARY_PREFIX}{key}.*"):
        remove(doomed, ignore_errors=True)


def _of_key(folder: Path, key: str) -> list[Path]:
    """Return the folders of a key, of the lowest token first."""
    name = re.compile(re.escape(key) + r"\.(\d+)\b.*")
    found = {path: match for path in folder.glob(f"{key}.*") if (match := name.fullmatch(path.name))}
    return sorted(found, key=lambda path: int(found[path][1]))


def replaced_by(output: Path) -> Path:
    """Return where the artifact goes whose place ``output`` is to take."""
    return output.with_name(output.name + _REPLACED)


def restore_replaced(home: Path, key: str, lease: Lease) -> None:
    """Put an artifact back that a kill between the two renames of its replacement left aside.

    Raises FileNotFoundError when the lease is not held any more.
    """
    aside = list((home / STAGING).glob(f"{key}.*{_REPLACED}"))
    check_held(lease, home)
    for replaced in aside:
        if not (home / key).exists():
            with contextlib.suppress(FileNotFoundError):
                replaced.rename(home / key)
