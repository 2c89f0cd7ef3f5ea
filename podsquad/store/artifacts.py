"""The store: immutable, verified artifacts, each in the folder of its stage and key.

    <store>/<stage>/<key>/                          the artifact: its files and manifest.json, written last
    <store>/<stage>/.staging/<key>.<token>-<any>/   a build that is under way
    <store>/<stage>/.work/<key>.<token>-<any>/      what survives a failed build (checkpoints); removed when it is done
    <store>/<stage>/.damaged/<key>-<n>/             what failed its verification, for people to look at
    <store>/<stage>/.leases/<key>.<token>           one writer per key (lease.py)

An artifact appears by one rename. Its digest is the hash of its files' names and SHA-256; ``record/`` (times, the
machine) and ``programs/`` (compiled code) are verified too but left out of the digest: they may differ between two
builds of equal worth.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.errors import InternalError, LeaseLostError, from_os_error, os_error_of
from podsquad.store.builds import (
    DAMAGED,
    LEASES,
    check_held,
    gone,
    remove_builds,
    replaced_by,
    restore_replaced,
    take_over,
    unfinished_refresh,
)
from podsquad.store.contents import digest_file, is_plain_name, list_files
from podsquad.store.durable import canonical_json, move_folder, parse_json, write_json
from podsquad.store.keys import Ingredients, key_of
from podsquad.store.lease import EXPIRE_SECONDS, Lease, leased
from podsquad.store.removal import remove

MANIFEST_FILE = "manifest.json"
MANIFEST_FORMAT = 1
OUTSIDE_DIGEST = ("record/", "programs/")

Build = Callable[[Path, Path, int], None]  # output folder, work folder, the lease's handle
WhyStale = Callable[[Path], str]  # of a whole artifact: why it must not be reused; empty: it may be


def never_stale(path: Path) -> str:
    """Find nothing against reusing a whole artifact."""
    return ""


@dataclass(frozen=True)
class Artifact:
    """A verified artifact of the store."""

    stage: str
    key: str
    digest: str
    path: Path
    num_bytes: int


@dataclass(frozen=True)
class Lookup:
    """What the store knows of a key: the artifact, or why there is none to use."""

    artifact: Artifact | None
    problem: str = ""  # what is wrong with what is there; empty when there simply is nothing
    is_stale: bool = False  # True: it is whole, but the world it tells of has changed
    expected_digest: str = ""  # the digest that an unusable artifact had, where its manifest can still be read


class Store:
    """Artifacts below one folder. Every method may raise StoreError when that folder cannot be used."""

    def __init__(self, root: Path, lease_seconds: float = EXPIRE_SECONDS) -> None:
        """Use the folder ``root``; it is made when the first artifact is.

        A writer that gives no sign of life for ``lease_seconds`` is taken over by the next one.
        """
        self.root = Path(root).absolute()
        self._lease_seconds = lease_seconds

    def look_up(self, stage: str, key: str, why_stale: WhyStale = never_stale) -> Lookup:
        """Return the artifact of that key if it is there, every byte is as its manifest says, and it is not stale."""
        path = self.root / stage / key
        try:
            if not path.exists():
                return Lookup(None)
            found = _verify(path, stage, key)
        except OSError as error:
            return Lookup(None, problem=f"cannot be read: {error.strerror or error}")
        if found.artifact and (reason := why_stale(path)):
            return Lookup(None, problem=reason, is_stale=True, expected_digest=found.artifact.digest)
        return found

    def ensure(
        self,
        ingredients: Ingredients,
        build: Build,
        *,
        why_stale: WhyStale = never_stale,
        is_refresh: bool = False,
        log: Callable[[str], None],
    ) -> tuple[Artifact, bool]:
        """Return the artifact of ``ingredients`` and whether it was there; if not, build it.

        ``build(output, work, handle)`` fills the empty folder ``output``; ``work`` holds what an earlier attempt at
        the same key left there; a process that works for this one must inherit ``handle``, so that the key counts as
        being built while it lives. Of several callers with one key, one builds and the others wait and reuse.
        A refresh goes on from a refresh alone, one that did not come to its end; else it begins with an empty work
        folder. A caller that reuses leaves such a one for the next. An artifact that fails its verification is set
        aside; a stale one makes room for its successor.

        Raises what ``build`` raises, an OSError of it as errors.from_os_error tells it; then nothing half-made is
        kept but ``work``, which stays for the next attempt. Raises LeaseLostError when another caller took the build
        over because this one stood still, or the store was removed under it: nothing that it wrote since then came
        into the store.
        """
        stage, key = ingredients["stage"], key_of(ingredients)
        home = self.root / stage
        with (
            _os_errors_explained(f"building the stage {stage}"),
            leased(home / LEASES, key, log=log, expire_seconds=self._lease_seconds) as lease,
            _loss_told(stage, key, home, lease),
        ):
            restore_replaced(home, key, lease)
            found = self.look_up(stage, key, why_stale)
            if found.artifact:
                # Of a writer that was killed when all was done but this.
                remove_builds(home, key, lease, but=unfinished_refresh(home, key))
                return found.artifact, True
            if found.problem and not found.is_stale:
                log(f"the artifact {key} {found.problem}; it is set aside and built again")
                self._set_aside(stage, key, lease)
            output, work = take_over(home, key, lease, is_refresh=is_refresh)
            replaced = replaced_by(output)
            try:
                made = output.stat()
                build(output, work, lease.handle)
                # A library that makes folders as it needs them must not bring back one that a successor took away.
                if not os.path.samestat(output.stat(), made):
                    raise gone(output)
                write_json(output / MANIFEST_FILE, _make_manifest(output, ingredients))
                move_folder(output, home / key, replaced)  # a stale one makes room
            except BaseException:
                remove(output, ignore_errors=True)  # on a full disk above all, nothing useless may stay
                with contextlib.suppress(OSError):
                    work.rmdir()  # nothing was left for the next attempt
                raise
            remove(replaced, ignore_errors=True)
            remove(work, ignore_errors=True)
            built = _verify(home / key, stage, key).artifact
        if built is None:
            raise InternalError(
                f"the artifact {home / key} is damaged although it was written a moment ago",
                why="another program changes files of the store, or the disk does not give back what it was given",
                do="check the disk and who writes to the store, and run the same again: it is built again",
            )
        return built, False

    def ingredients(self, stage: str) -> Iterator[Ingredients]:
        """Yield the ingredients of the stage's artifacts, the newest first; their files are not verified."""
        manifests = []
        for path in (self.root / stage).glob(f"*/{MANIFEST_FILE}"):
            try:
                manifest = parse_json(path.read_bytes())
                ingredients = manifest["ingredients"]
                if key_of(ingredients) == manifest["key"]:  # else it is not what a build was made of
                    manifests.append((path.stat().st_mtime_ns, ingredients))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a damaged one is found and reported when its key is looked up
        yield from (ingredients for _, ingredients in sorted(manifests, key=lambda pair: -pair[0]))

    def _set_aside(self, stage: str, key: str, lease: Lease) -> None:
        path, folder = self.root / stage / key, self.root / stage / DAMAGED
        folder.mkdir(exist_ok=True)
        aside = folder / f"{key}-{time.time_ns()}"  # any number that is free; the newest is the largest
        check_held(lease, path)
        path.rename(aside)
        if not lease.is_held():  # a successor's good one, perhaps, that came there since
            with contextlib.suppress(OSError):
                aside.rename(path)
            raise gone(path)


def lease_lost(stage: str, key: str) -> LeaseLostError:
    """Return the error of a build whose lease is lost."""
    return LeaseLostError(
        f"the right to build {stage} {key} is lost",
        why="another run took it over, because this one gave no sign of life for longer than store.lease_seconds "
        "(it was stopped, or its machine was); or the store was removed under it",
        do="nothing where another run builds it; run the same again to go on from what is there",
    )


@contextlib.contextmanager
def _loss_told(stage: str, key: str, home: Path, lease: Lease) -> Iterator[None]:
    """Name what fails here because the lease is lost."""
    try:
        yield
    except Exception as error:
        if not home.is_dir() or lease.is_held():
            raise
        raise lease_lost(stage, key) from error


def _make_manifest(folder: Path, ingredients: Ingredients) -> dict[str, Any]:
    names = list(list_files(folder))
    if not names:
        raise InternalError(
            f"the stage {ingredients['stage']} wrote nothing",
            why="it ended as if all were well, but an artifact has at least one file",
            do="report this with the log as a defect of podsquad",
        )
    files = {name: digest_file(folder / name)._asdict() for name in names}
    return {
        "manifest_format": MANIFEST_FORMAT,
        "stage": ingredients["stage"],
        "key": key_of(ingredients),
        "ingredients": ingredients,
        "files": files,
        "digest": digest_of(files),
    }


def digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of an artifact from its manifest's entries: what is outside the digest does not count."""
    named = {name: entry["sha256"] for name, entry in files.items() if not name.startswith(OUTSIDE_DIGEST)}
    return hashlib.sha256(canonical_json(named).encode()).hexdigest()


def _verify(path: Path, stage: str, key: str) -> Lookup:
    try:
        manifest = parse_json((path / MANIFEST_FILE).read_bytes())
        files, digest = manifest["files"], manifest["digest"]
        stands_for = (manifest["manifest_format"], manifest["stage"], manifest["key"], key_of(manifest["ingredients"]))
        if stands_for != (MANIFEST_FORMAT, stage, key, key) or digest_of(files) != digest:
            return Lookup(None, problem="has a manifest that does not fit it")
    except FileNotFoundError:
        return Lookup(None, problem=f"lacks its {MANIFEST_FILE}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Lookup(None, problem=f"has a {MANIFEST_FILE} that cannot be read")
    if not all(map(is_plain_name, files)):
        return Lookup(None, problem="has a manifest that names files outside it")
    for name, entry in files.items():
        try:
            if digest_file(path / name)._asdict() != entry:
                return Lookup(None, problem=f"has a changed file {name}", expected_digest=digest)
        except FileNotFoundError:
            return Lookup(None, problem=f"lacks its file {name}", expected_digest=digest)
        except OSError as error:
            problem = f"has a file {name} that cannot be read: {error.strerror}"
            return Lookup(None, problem=problem, expected_digest=digest)
    num_bytes = sum(entry["num_bytes"] for entry in files.values())
    return Lookup(Artifact(stage, key, digest, path, num_bytes))


@contextlib.contextmanager
def _os_errors_explained(doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if refusal := os_error_of(error):
            raise from_os_error(refusal, doing) from error
        raise
