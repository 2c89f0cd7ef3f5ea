"""Digests of files and folders, each file read once per process as long as it does not change."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from podsquad.errors import InputMissingError
from podsquad.store.durable import canonical_json

_CHUNK_BYTES = 4 * 2**20
_PART_BYTES = 255  # NAME_MAX of Linux's file systems
_NAME_BYTES = 1024  # PATH_MAX is 4096: there is room for the folder


class FileDigest(NamedTuple):
    """Size and SHA-256 of a file's bytes."""

    num_bytes: int
    sha256: str


_Identity = tuple[int, int, int, int, int]
_known: dict[_Identity, FileDigest] = {}
_known_lock = threading.Lock()


def digest_file(path: Path) -> FileDigest:
    """Return size and SHA-256 of ``path``. Raises OSError as the system does.

    A file of the same device, inode, size, modification and change time is not read again by this process: within
    one run a stage's artifact is asked about several times.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with _known_lock:
            if identity in _known:
                return _known[identity]
        sha256 = hashlib.sha256()
        num_bytes = 0
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            num_bytes += len(chunk)
    digest = FileDigest(num_bytes, sha256.hexdigest())
    if num_bytes == status.st_size:  # else it grew while it was read, and the next question must read it anew
        with _known_lock:
            _known[identity] = digest
    return digest


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file to read. Raises OSError; for a pipe or a device too, which could be read without end."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115, the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def list_files(folder: Path) -> Iterator[str]:
    """Yield the names of all files below ``folder``, relative, with ``/``, sorted."""
    yield from sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def is_plain_name(name: str) -> bool:
    """Tell whether a name can only be that of a file below a folder: relative, written in one way, not too long.

    What is read from a list, and then opened or written by the names in it, must have such names only.
    """
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or len(name.encode()) > _NAME_BYTES:
        return False
    return all(part not in ("", ".", "..") and len(part.encode()) <= _PART_BYTES for part in parts)


def digest_path(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and digests of a folder's files.

    Hidden names are left out: they hold caches, not content. Raises InputMissingError when nothing is there or it
    cannot be read.
    """
    try:
        if path.is_dir():
            names = [name for name in list_files(path) if not any(part.startswith(".") for part in name.split("/"))]
            listing = {name: digest_file(path / name).sha256 for name in names}
            return hashlib.sha256(canonical_json(listing).encode()).hexdigest()
        return digest_file(path).sha256
    except OSError as error:
        raise InputMissingError(
            f"cannot read {path}: {error.strerror or error}",
            why="it is not there, or this user may not read it",
            do="check the path and this user's rights",
        ) from error
