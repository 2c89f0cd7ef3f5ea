"""Whether what a listing names is still in a repository on the Hub as it was put there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from podsquad.publishing.hub_client import Hub
from podsquad.publishing.listing import Listing


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


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
