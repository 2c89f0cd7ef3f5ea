"""What podsquad put into a repository on the Hub, file by file, and whether it is still there as it was put.

The listing is ``files.json``, of the folder publisher's layout. Files that others put there are in no listing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.publishing.hub_client import Hub
from podsquad.store.contents import FileDigest


@dataclass(frozen=True)
class Listing:
    """What podsquad put into a repository at one commit: the version's key, and size and SHA-256 of each file."""

    key: str
    files: Mapping[str, FileDigest]

    @classmethod
    def of(cls, key: str, sources: Mapping[str, Path]) -> Listing:
        """Return the listing of these files."""
        return cls(key, {name: _read_digest(path) for name, path in sorted(sources.items())})

    @classmethod
    def parse(cls, content: bytes) -> Listing:
        """Return the listing that ``encode`` wrote. Raises ValueError."""
        try:
            value = json.loads(content)
            files = {str(name): FileDigest(each["num_bytes"], each["sha256"]) for name, each in value["files"].items()}
            return cls(str(value["key"]), files)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no listing: {error!r}") from error

    def encode(self) -> bytes:
        """Return the bytes of files.json."""
        return encode_json({"key": self.key, "files": {name: entry._asdict() for name, entry in self.files.items()}})

    def differing(self, folder: Path) -> list[str]:
        """Return the names of listed files that the folder lacks or has with other bytes."""
        return [
            name
            for name, expected in self.files.items()
            if not (folder / name).is_file() or _read_digest(folder / name) != expected
        ]


def read_tree(hub: Hub, revision: str) -> dict[str, Any]:
    """Return the Hub's entries of all files at a revision, by name: size, blob_id (git's hash), lfs.sha256."""
    entries = hub.call(
        f"listing the files of {hub.repository}",
        lambda **given: list(hub.api.list_repo_tree(**given)),
        revision=revision,
        recursive=True,
    )
    return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}


def changed_files(hub: Hub, listing: Listing, commit: str, head: str) -> list[str]:
    """Return the listed files that are not at ``head`` as they are at ``commit``, by their hashes at the Hub."""
    if commit == head:
        return []
    before, after = read_tree(hub, commit), read_tree(hub, head)
    return [
        name
        for name in listing.files
        if name not in before or name not in after or before[name].blob_id != after[name].blob_id
    ]


def wrong_files(hub: Hub, listing: Listing, commit: str, folder: Path) -> list[str]:
    """Return the listed files that a commit lacks or has otherwise than the folder, by their hashes at the Hub."""
    tree = read_tree(hub, commit)
    found = []
    for name, expected in listing.files.items():
        entry = tree.get(name)
        if entry is None or entry.size != expected.num_bytes:
            found.append(name)
        elif entry.lfs is not None:
            found += [name] if entry.lfs.sha256 != expected.sha256 else []
        elif entry.blob_id != _git_hash((folder / name).read_bytes()):
            found.append(name)
    return found


def encode_json(value: Any) -> bytes:
    """Return the one text of a JSON value as podsquad writes it to the Hub: indented, keys sorted, NaN refused."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of the bytes that are there now.

    Not ``contents.digest_file``: it knows a file again by inode, size and times, and files that are downloaded in one
    another's place, of the same size and within one tick of the file system's clock, are the same to it.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(file.tell(), sha256)


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
