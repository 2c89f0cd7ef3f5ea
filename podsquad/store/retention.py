"""What may be removed from a store: old artifacts that nothing kept was made of, what was set aside, what a kill left.

Kept are the newest artifacts of each stage, what the caller protects (the champion), and all that these were made of,
by the digests of inputs in their manifests. Nothing is removed whose key is being built: removal takes the key's lease.
Of a link, as one that was moved to another disk leaves behind, the link alone goes.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from podsquad.errors import from_os_error
from podsquad.store.artifacts import MANIFEST_FILE
from podsquad.store.builds import DAMAGED, LEASES, STAGING, WORK
from podsquad.store.durable import TEMPORARY_PREFIX, parse_json
from podsquad.store.lease import leased_if_free
from podsquad.store.removal import remove


@dataclass(frozen=True)
class Garbage:
    """Something that may go."""

    path: Path
    kind: Literal["artifact", "damaged", "leftover"]
    key: str
    num_bytes: int
    age_seconds: float
    leads_to: str
    """Where it is a link: what it leads to, which stays; else empty."""


@dataclass(frozen=True)
class _Made:
    path: Path
    digest: str
    inputs: frozenset[str]
    time: float


def find_garbage(
    root: Path, *, keep: int, older_than_seconds: float, now: float, is_protected: Callable[[Path], bool]
) -> list[Garbage]:
    """Return what may be removed from the store ``root``, sorted by path; nothing is changed.

    ``keep``: how many of each stage stay whatever their age. ``is_protected`` is asked for every artifact's folder.
    ``now``: seconds of the clock by which files are dated. Raises StoreError when the store cannot be read.
    """
    try:
        homes = [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."] if root.is_dir() else []
        made = {home: list(_artifacts(home)) for home in homes}
        kept = _kept(made, keep, is_protected)
        found = [
            Garbage(each.path, "artifact", each.path.name, _size(each.path), now - each.time, _leads_to(each.path))
            for artifacts in made.values()
            for each in artifacts
            if each.path not in kept
        ]
        found += [each for home in homes for each in _leftovers(home, now)]
    except OSError as error:
        raise from_os_error(error, "looking through the store") from error
    return sorted((each for each in found if each.age_seconds > older_than_seconds), key=lambda each: str(each.path))


def remove_garbage(garbage: Garbage) -> bool:
    """Remove it, by one rename out of everybody's sight first; False when its key is being built just now.

    Raises StoreError when the store cannot be written.
    """
    home = garbage.path.parent if garbage.kind == "artifact" else garbage.path.parents[1]
    try:
        with leased_if_free(home / LEASES, garbage.key) as lease:
            if lease is None:
                return False
            (home / STAGING).mkdir(exist_ok=True)
            doomed = home / STAGING / f"{TEMPORARY_PREFIX}{garbage.key}.{uuid.uuid4().hex}"
            garbage.path.rename(doomed)
            remove(doomed)
    except OSError as error:
        raise from_os_error(error, f"removing {garbage.path}") from error
    return True


def _artifacts(home: Path) -> Iterator[_Made]:
    for path in home.glob(f"*/{MANIFEST_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged: left to a run
            manifest = parse_json(path.read_text(encoding="utf-8"))
            inputs = frozenset(manifest["ingredients"]["inputs"].values())
            yield _Made(path.parent, manifest["digest"], inputs, path.stat().st_mtime)


def _kept(made: dict[Path, list[_Made]], keep: int, is_protected: Callable[[Path], bool]) -> set[Path]:
    everything = [each for artifacts in made.values() for each in artifacts]
    by_digest: dict[str, list[_Made]] = {}
    for each in everything:
        by_digest.setdefault(each.digest, []).append(each)
    newest = [each for artifacts in made.values() for each in sorted(artifacts, key=lambda made: -made.time)[:keep]]
    waiting = newest + [each for each in everything if is_protected(each.path)]
    kept: set[Path] = set()
    while waiting:
        each = waiting.pop()
        if each.path not in kept:
            kept.add(each.path)
            waiting += [source for digest in each.inputs for source in by_digest.get(digest, [])]
    return kept


def _leftovers(home: Path, now: float) -> Iterator[Garbage]:
    for folder, kind in ((DAMAGED, "damaged"), (STAGING, "leftover"), (WORK, "leftover")):
        for path in (home / folder).glob("*"):
            if path.is_dir():
                name = path.name.removeprefix(TEMPORARY_PREFIX)
                key = name.rpartition("-")[0] if kind == "damaged" else name.partition(".")[0]
                with contextlib.suppress(FileNotFoundError):  # a build that goes on moves and removes here
                    age = now - _newest_change(path)
                    yield Garbage(path, kind, key, _size(path), age, _leads_to(path))  # type: ignore[arg-type]


def _newest_change(folder: Path) -> float:
    # Of an artifact that was set aside the rename counts, which changes the folder's own ctime and nothing else.
    return max(folder.stat().st_ctime, *(os.lstat(path).st_mtime for path in [folder, *folder.rglob("*")]))


def _leads_to(path: Path) -> str:
    return str(path.resolve()) if path.is_symlink() else ""


def _size(folder: Path) -> int:
    if folder.is_symlink():
        return folder.lstat().st_size
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
