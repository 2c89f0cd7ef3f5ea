"""The folder publisher: versions side by side, and a pointer to the newest.

    <folder>/<name>/versions/<first 12 digits of key>/      config.json, model.safetensors, tokenizer files,
                                                            README.md, what else was given, and files.json
    <folder>/<name>/current                                 relative symlink to the newest version

A version appears by one rename, after its copied bytes were read again and compared; the pointer moves by one
rename after that. A reader of ``current`` sees the old version or the new one, whole, after a kill at any
instant too.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from podsquad.errors import InternalError, StoreError, TemporaryError, from_os_error
from podsquad.store.contents import FileDigest, digest_file
from podsquad.store.durable import TEMPORARY_PREFIX, flush_folder, move_folder, write_bytes, write_json

FILES_FILE = "files.json"
CARD_FILE = "README.md"
CURRENT = "current"
VERSIONS = "versions"
# What of a model's artifact a user of the model needs; histories and ledgers stay in the store.
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "LICENSE*",
)
_LOCK_FILE = ".lock"
_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Publication:
    """A model that was published to a folder: plain values, so that a receipt can carry it."""

    folder: str
    name: str
    key: str

    @property
    def version(self) -> str:
        """The name of the version's folder."""
        return self.key[:12]

    @property
    def path(self) -> Path:
        """The version's folder."""
        return Path(self.folder) / self.name / VERSIONS / self.version

    @property
    def pointer(self) -> Path:
        """The symlink to the newest version."""
        return Path(self.folder) / self.name / CURRENT


def publish_to_folder(
    folder: Path,
    name: str,
    model: Path,
    card: str,
    extras: Mapping[str, Path],
    key: str,
    *,
    lock_timeout_seconds: float = 600.0,
) -> Publication:
    """Publish a model as the version ``key[:12]`` of ``<folder>/<name>`` and point ``current`` at it.

    ``model`` is a model artifact, of which MODEL_FILES are copied; ``card`` becomes README.md; ``extras``
    maps further names (relative, with ``/``) to files. ``key`` (hexadecimal, 12 digits or more) names what
    is published: a version that is there and whole is left as it is, whatever the other arguments say. A
    version whose files differ from its own files.json is replaced. Other versions are never touched.

    Raises InternalError when the artifact lacks weights or config, or when the copy differs from its source;
    StoreError (DiskFullError) when the folder cannot be written; TemporaryError when another process
    publishes there for longer than ``lock_timeout_seconds``.
    """
    if not re.fullmatch(r"[0-9a-f]{12,128}", key):
        raise InternalError(f"{key!r} is no key: 12 or more hexadecimal digits were expected")
    publication = Publication(str(folder), name, key)
    sources = _collect(model, extras)
    if holds(publication):
        return publication
    home = folder / name
    try:
        (home / VERSIONS).mkdir(parents=True, exist_ok=True)
        with FileLock(home / _LOCK_FILE, timeout=lock_timeout_seconds):
            _remove_leftovers(home)
            if not _is_whole(publication):
                _refuse_other_model(publication)
                _build_version(publication, sources, card)
            _point(publication)
    except Timeout as error:
        raise TemporaryError(
            f"another process has been publishing to {home} for {lock_timeout_seconds:g} seconds",
            do="run the same command again when it is done",
        ) from error
    except OSError as error:
        raise from_os_error(error, f"publishing {name} to {folder}", "--set publish.folder=FOLDER") from error
    return publication


def holds(publication: Publication) -> bool:
    """Tell whether the target still has that version, whole, and as the current one.

    Reads every byte of the version. A target that cannot be read does not hold it.
    """
    try:
        return _is_current(publication) and _is_whole(publication)
    except OSError:
        return False


def list_versions(folder: Path, name: str) -> list[str]:
    """Return the names of the versions under ``<folder>/<name>``, sorted by name; whole or not."""
    versions = folder / name / VERSIONS
    if not versions.is_dir():
        return []
    return sorted(entry.name for entry in versions.iterdir() if not entry.name.startswith("."))


def _collect(model: Path, extras: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files to copy by their published names."""
    try:
        names = sorted(entry.name for entry in model.iterdir() if entry.is_file())
    except OSError as error:
        raise InternalError(f"cannot read the model {model}: {error}") from error
    sources = {
        name: model / name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in MODEL_FILES)
    }
    for needed, there in {
        "config.json": "config.json" in sources,
        "model.safetensors": any(fnmatch.fnmatchcase(name, "model*.safetensors") for name in sources),
    }.items():
        if not there:
            raise InternalError(
                f"the model {model} has no {needed}",
                why="the training's artifact lacks what every training writes",
                do="run again with --refresh train",
            )
    for name, path in extras.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or name in (*sources, CARD_FILE, FILES_FILE):
            raise InternalError(f"{name!r} cannot be the name of a further file of a publication")
        sources[name] = path
    return sources


def _build_version(publication: Publication, sources: Mapping[str, Path], card: str) -> None:
    home = publication.pointer.parent
    staging = home / (TEMPORARY_PREFIX + uuid.uuid4().hex)
    staging.mkdir()
    try:
        files: dict[str, FileDigest] = {}
        for name, source in sources.items():
            files[name] = _copy(source, staging / name)
        write_bytes(staging / CARD_FILE, card.encode("utf-8"))
        files[CARD_FILE] = _digest_bytes(card.encode("utf-8"))
        for name, expected in files.items():
            found = digest_file(staging / name)
            if found != expected:
                raise InternalError(
                    f"{name} reads back as {found.num_bytes} bytes, SHA-256 {found.sha256[:12]}, after "
                    f"{expected.num_bytes} bytes, SHA-256 {expected.sha256[:12]}, were written to {home}",
                    why="the disk or the network file system under it does not keep what it is given",
                    do="publish to another folder with --set publish.folder=FOLDER",
                )
        listing = {name: entry._asdict() for name, entry in files.items()}
        write_json(staging / FILES_FILE, {"key": publication.key, "files": listing})
        if os.path.lexists(publication.path):
            # Damaged: out of the way first, for a rename does not replace a folder that holds something.
            publication.path.rename(home / (TEMPORARY_PREFIX + uuid.uuid4().hex))
        move_folder(staging, publication.path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _remove_leftovers(home)


def _copy(source: Path, target: Path) -> FileDigest:
    """Copy a file to the disk and return the size and digest of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
        if hasattr(os, "posix_fadvise"):
            # Let the comparison read the disk, not this machine's memory of it.
            os.posix_fadvise(writer.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return FileDigest(size, digest.hexdigest())


def _point(publication: Publication) -> None:
    if _is_current(publication):
        return
    aside = publication.pointer.with_name(TEMPORARY_PREFIX + uuid.uuid4().hex)
    # Relative: the published folder can be moved, or mounted elsewhere.
    aside.symlink_to(Path(VERSIONS) / publication.version)
    try:
        aside.replace(publication.pointer)
    except OSError:
        aside.unlink()
        raise
    flush_folder(publication.pointer.parent)


def _is_current(publication: Publication) -> bool:
    pointer = publication.pointer
    return pointer.is_symlink() and pointer.readlink() == Path(VERSIONS) / publication.version


def _is_whole(publication: Publication) -> bool:
    """Tell whether the version's folder holds exactly what its files.json says, for this key."""
    listing = _read_listing(publication)
    if listing.get("key") != publication.key or not isinstance(listing.get("files"), dict):
        return False
    root = publication.path
    try:
        found = {
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()
        }
        if found != {*listing["files"], FILES_FILE}:
            return False
        return all(digest_file(root / name)._asdict() == entry for name, entry in listing["files"].items())
    except OSError:
        return False


def _refuse_other_model(publication: Publication) -> None:
    other = _read_listing(publication).get("key")
    if isinstance(other, str) and other != publication.key and other[:12] == publication.version:
        raise StoreError(
            f"{publication.path} holds another model, of key {other}",
            why="two keys share their first 12 digits, by which versions are named",
            do="publish under another name with --set publish.name=NAME",
        )


def _read_listing(publication: Publication) -> dict[str, Any]:
    try:
        listing = json.loads((publication.path / FILES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return listing if isinstance(listing, dict) else {}


def _remove_leftovers(home: Path) -> None:
    """Remove what killed publishers left behind; the caller holds the lock, so nobody works on it."""
    for entry in home.iterdir():
        if not entry.name.startswith(TEMPORARY_PREFIX):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _digest_bytes(content: bytes) -> FileDigest:
    return FileDigest(len(content), hashlib.sha256(content).hexdigest())
