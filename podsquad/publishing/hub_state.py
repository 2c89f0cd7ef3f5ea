"""What a repository on the Hub holds: the champion, the versions in their order, and which were withdrawn.

On main lie the files of the champion, with two of podsquad's own: ``files.json``, which lists what podsquad put there,
and ``withdrawn.json``. Every commit by which a version came to main says so in a line
``podsquad-version: KEY`` of its text, and that of a rollback in its title and the reason. Files that others put there
are left alone and are in no listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podsquad.errors import DataError, InputMissingError
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import RECEIPT_FILE
from podsquad.publishing.target import STAMP, WITHDRAWN_FILE, Champion, TargetState, Version, tag_of
from podsquad.store.durable import encode_json, parse_object

MAIN = "main"
TRAILER = "podsquad-version: "
_CANDIDATE = "podsquad-candidate-"
ROLLBACK_TITLE = "Roll back from {} to {}"  # of the commit: the tags of the version that leaves, and of the other
_ROLLBACK = re.compile(ROLLBACK_TITLE.format(*["(v-[0-9a-f]{12})"] * 2))


def candidate_of(key: str, stamp: str) -> str:
    """Return the name of a candidate branch; ``stamp`` tells when it was made."""
    return f"{_CANDIDATE}{key[:12]}-{stamp}"


def stale_candidates(branches: Iterable[str], tags: Iterable[str], oldest_stamp: str) -> list[str]:
    """Return the candidate branches of these versions, and those of others that were made before ``oldest_stamp``."""
    found, done = [], {tag.removeprefix("v-") for tag in tags}
    for name in sorted(branches):
        if name.startswith(_CANDIDATE):
            version, _, stamp = name.removeprefix(_CANDIDATE).partition("-")
            if version in done or stamp < oldest_stamp:
                found.append(name)
    return found


@dataclass(frozen=True)
class Refs:
    """Branches and tags at one moment, by name, with the commits that they name."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def head(self) -> str:
        """The commit that main names."""
        return self.branches[MAIN]


@dataclass(frozen=True)
class HubVersion(Version):
    """A version with the last commit that brought it to main."""

    commit: str


@dataclass(frozen=True)
class HubChampion(Champion):
    """The version that is on main."""

    commit: str


@dataclass(frozen=True)
class HubState(TargetState):
    """What a repository holds at one moment; ``expected`` is the commit of main."""

    champion: HubChampion | None
    versions: tuple[HubVersion, ...]
    refs: Refs
    lost: HubVersion | None = field(default=None, kw_only=True)


NOTHING = HubState(False, None, {}, (), "", Refs({}, {}))


def read_refs(hub: Hub) -> Refs | None:
    """Return branches and tags; None when the repository is not there."""
    found = hub.find(f"looking at {hub.repository}", hub.api.list_repo_refs)
    if found is None:
        return None
    refs = Refs(
        {each.name: each.target_commit for each in found.branches},
        {each.name: each.target_commit for each in found.tags},
    )
    if MAIN not in refs.branches:
        raise InputMissingError(
            f"{hub.url} has no branch {MAIN}",
            why="it was made without a first commit",
            do="add a README.md to it on the Hub, or publish to a repository that is not there yet",
        )
    return refs


def read_state(hub: Hub, scratch: Path) -> HubState:
    """Return what the repository holds; a repository that is not there holds nothing.

    ``scratch`` is a folder that may be made and removed. Raises DataError when withdrawn.json cannot be read, or
    files.json where podsquad published nothing, and what ``explain_hub_error`` says.
    """
    refs = read_refs(hub)
    if refs is None:
        return NOTHING
    history = read_history(hub, MAIN)
    versions = _versions_in(history)
    try:
        listing = read_listing(hub, refs.head, scratch)
    except DataError:
        if not versions:
            raise  # a file of that name that podsquad never wrote
        listing = None
    withdrawn = _read_withdrawn(hub, refs.head, scratch)
    champion = None
    if listing:
        commit = next((each.commit for each in versions if each.key == listing.key), refs.head)
        champion = HubChampion(listing.key, listing, _read_receipt(hub, refs.head, scratch), commit)
    known = tuple(each for each in versions if each.tag in refs.tags)
    lost = versions[0] if versions and champion is None else None  # somebody removed or changed files.json
    undone = _undone_in(history)
    return HubState(True, champion, withdrawn, known, refs.head, refs, lost=lost, undone=undone)


def read_listing(hub: Hub, revision: str, scratch: Path) -> Listing | None:
    """Return the listing at a revision; None where podsquad put nothing. Raises DataError."""
    content = hub.read(FILES_FILE, revision, scratch)
    if content is None:
        return None
    try:
        return Listing.parse(content)
    except ValueError as error:
        raise _unreadable(hub, FILES_FILE, revision, error) from error


def read_history(hub: Hub, branch: str) -> list[Any]:
    """Return the commits of a branch as the client gives them, the newest first."""
    found: list[Any] = hub.call(f"reading the history of {hub.repository}", hub.api.list_repo_commits, revision=branch)
    return found


def key_in(message: str | None) -> str:
    """Return the key of the version that a commit's text names; empty: it names none."""
    # The last such line: the text before it may quote another commit's.
    keys = re.findall(rf"^{TRAILER}([0-9a-f]+)$", message or "", re.MULTILINE)
    return str(keys[-1]) if keys else ""


def _versions_in(history: Iterable[Any]) -> list[HubVersion]:
    """Return each version with the last commit that brought it to main, the newest first."""
    found: dict[str, HubVersion] = {}
    for commit in history:
        if key := key_in(commit.message):
            found.setdefault(key, HubVersion(key, commit.commit_id))
    return list(found.values())


def _undone_in(history: Iterable[Any]) -> tuple[dict[str, str], ...]:
    """Return the rollbacks whose version came back later, as ``TargetState.undone`` tells them."""
    standing: dict[str, dict[str, str]] = {}
    undone = []
    for commit in reversed(list(history)):
        if not (key := key_in(commit.message)):
            continue
        if entry := standing.pop(tag_of(key), None):
            undone.append(entry)
        if found := _ROLLBACK.fullmatch(commit.title):
            reason = commit.message.partition("\n")[0]
            at = commit.created_at.strftime(STAMP)
            standing[found[1]] = {"tag": found[1], "restored": found[2], "reason": reason, "at": at}
    return tuple(undone)


def encode_withdrawn(withdrawn: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return the bytes of withdrawn.json."""
    return encode_json(withdrawn)


def _read_withdrawn(hub: Hub, revision: str, scratch: Path) -> dict[str, dict[str, str]]:
    content = hub.read(WITHDRAWN_FILE, revision, scratch)
    try:
        withdrawn = {} if content is None else parse_object(content)
    except ValueError as error:
        raise _unreadable(hub, WITHDRAWN_FILE, revision, error) from error
    for tag, told in withdrawn.items():
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise _unreadable(hub, WITHDRAWN_FILE, revision, ValueError(f"what it says of {tag!r} is no text"))
    return withdrawn


def _read_receipt(hub: Hub, revision: str, scratch: Path) -> dict[str, Any] | None:
    """Return the receipt; None where it is gone or damaged, which the next night puts right."""
    content = hub.read(RECEIPT_FILE, revision, scratch)
    try:
        return None if content is None else parse_object(content)
    except ValueError:
        return None


def _unreadable(hub: Hub, name: str, revision: str, error: ValueError) -> DataError:
    return DataError(
        f"{name} of {hub.repository} at {revision[:12]} cannot be read: {error}",
        why="podsquad writes this file; somebody changed it by hand",
        do=f"restore it on {hub.url}, or publish to another repository",
    )
