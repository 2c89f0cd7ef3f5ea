"""The files of one version in a folder: copied with their digests, compared with their listing, read if they can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from podsquad.errors import StoreError
from podsquad.publishing.listing import FILES_FILE, Listing, read_digest
from podsquad.publishing.receipt import RECEIPT_FILE
from podsquad.store.contents import FileDigest
from podsquad.store.durable import TEMPORARY_PREFIX, copy_bytes, parse_json
from podsquad.store.removal import remove


def copy_file(source: Path, target: Path) -> FileDigest:
    """Copy a file to the disk, in a folder that is made, and return the size and digest of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return FileDigest(*copy_bytes(source, target))


def wrong_files(version: Path, key: str, digest: Callable[[Path], FileDigest] = read_digest) -> list[str]:
    """Return what in a version's folder is not as its files.json says, for this key; empty: it is whole.

    ``digest`` reads a file. Raises OSError for one that cannot be read.
    """
    listing = listing_in(version)
    if listing is None or listing.key != key:
        return [FILES_FILE]
    entries = [path for path in version.rglob("*") if path.is_symlink() or not path.is_dir()]
    found = {path.relative_to(version).as_posix() for path in entries}
    differing = {
        name
        for name in found & set(listing.files)
        if not (version / name).is_file() or digest(version / name) != listing.files[name]
    }
    return sorted(differing | found ^ {*listing.files, FILES_FILE})


def listing_in(version: Path) -> Listing | None:
    """Return the listing in a version's folder; None where there is none that can be read."""
    try:
        return Listing.parse((version / FILES_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def receipt_in(version: Path) -> dict[str, Any] | None:
    """Return the receipt in a version's folder; None where there is none that can be read."""
    try:
        receipt = parse_json((version / RECEIPT_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def remove_leftovers(home: Path) -> None:
    """Remove what killed publishers left behind; the caller holds the lock, so nobody works on it."""
    for entry in home.iterdir():
        if entry.name.startswith(TEMPORARY_PREFIX):
            remove(entry)


def damaged(version: Path, wrong: list[str]) -> StoreError:
    """Return the error of a version that is not whole."""
    return StoreError(
        f"{', '.join(wrong)} of {version} are not as they were published",
        why="the version is damaged",
        do="name another version, or publish it again from the store",
    )
