"""``files.json``: what podsquad put at a place, file by file, whoever else put files there too."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.store.contents import FileDigest, digest_file, is_plain_name, open_regular
from podsquad.store.durable import encode_json, parse_json

FILES_FILE = "files.json"
_YOUNG_NANOSECONDS = 2 * 10**9  # the coarsest clock of a file system, FAT's
_HEXADECIMAL = re.compile(r"[0-9a-f]{12,128}")


@dataclass(frozen=True)
class Listing:
    """The files of one version: its key, and size and SHA-256 of each file but the listing itself."""

    key: str
    files: Mapping[str, FileDigest]

    @classmethod
    def of(cls, key: str, sources: Mapping[str, Path]) -> Listing:
        """Return the listing of these files."""
        return cls(key, {name: read_digest(path) for name, path in sorted(sources.items())})

    @classmethod
    def parse(cls, content: bytes) -> Listing:
        """Return the listing that ``encode`` wrote. Raises ValueError.

        No name of it leads out of the folder that its files are brought to.
        """
        try:
            value = parse_json(content)
            key, files = value["key"], {name: _entry(name, each) for name, each in value["files"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no listing: {error!r}") from error
        if not isinstance(key, str) or not _HEXADECIMAL.fullmatch(key):
            raise ValueError(f"no listing: its key is {key!r}")
        return cls(key, files)

    def encode(self) -> bytes:
        """Return the bytes of files.json."""
        return encode_json({"key": self.key, "files": {name: entry._asdict() for name, entry in self.files.items()}})

    def differing(self, folder: Path) -> list[str]:
        """Return the names of listed files that the folder lacks or has with other bytes."""
        return [
            name
            for name, expected in self.files.items()
            if not (folder / name).is_file() or read_digest(folder / name) != expected
        ]


def _entry(name: str, entry: Mapping[str, Any]) -> FileDigest:
    num_bytes, sha256 = entry["num_bytes"], entry["sha256"]
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is no name of a file below a folder")
    if type(num_bytes) is not int or not isinstance(sha256, str) or not _HEXADECIMAL.fullmatch(sha256):
        raise ValueError(f"the entry of {name} is no size and SHA-256")
    return FileDigest(num_bytes, sha256)


def read_digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of the bytes that are there now.

    Not ``contents.digest_file``: it knows a file again by inode, size and times, and files that are downloaded in one
    another's place, of the same size and within one tick of the file system's clock, are the same to it.
    """
    with open_regular(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(file.tell(), sha256)


def known_digest(path: Path) -> FileDigest:
    """Return the same of a file that stays where it is, read once by this process as long as it does not change.

    One that changed just now is read each time: another change within the same tick of the clock would not be seen.
    """
    status = path.stat()
    is_young = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _YOUNG_NANOSECONDS
    return read_digest(path) if is_young else digest_file(path)
