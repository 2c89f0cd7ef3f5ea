"""A target: the place where models are published. What both kinds, a folder and a repository on the Hub, promise.

A version is published by one transaction: its files are brought aside, read back and compared, a smoke question is
answered from them, and then one atomic step makes it current. Whoever reads the target sees whole versions only, after
a kill at any instant too, and the same call again makes good what a killed one left undone. A version's key is the
SHA-256 of its receipt, so the same thing published twice is one version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from podsquad.errors import InternalError, SettingsError, StoreError
from podsquad.publishing.listing import FILES_FILE, Listing

TargetKind = Literal["folder", "hub"]
WITHDRAWN_FILE = "withdrawn.json"
STAMP = "%Y%m%dT%H%M%SZ"  # how targets write a time, UTC
OWN_FILES = (FILES_FILE, WITHDRAWN_FILE)  # names that targets keep for themselves

Smoke = Callable[[Path], object]
"""Answers a question from a folder with a version's files; raises a PodsquadError when it cannot."""


@dataclass(frozen=True)
class Version:
    """One version of the model, as it is, or was, current."""

    key: str

    @property
    def tag(self) -> str:
        """Its name."""
        return tag_of(self.key)


@dataclass(frozen=True)
class Champion(Version):
    """The version that the target holds now."""

    listing: Listing
    receipt: Mapping[str, Any] | None
    """Its receipt.json; None where it has none that can be read."""


@dataclass(frozen=True)
class TargetState:
    """What a target holds at one moment."""

    exists: bool
    champion: Champion | None
    withdrawn: Mapping[str, Mapping[str, str]]
    """What was rolled back, by tag: reason, restored (the tag that took its place), at, and, where that could be read,
    model (its digest, by which it is known under another card too)."""
    versions: tuple[Version, ...]
    """By the time they last became current, the newest first; only those that can be brought back."""
    expected: str
    """Another one after every change of what is current; empty where there is nothing yet."""
    lost: Version | None = field(default=None, kw_only=True)
    """The version that ought to be the champion, where its listing is damaged or gone; then ``champion`` is None."""
    undone: tuple[Mapping[str, str], ...] = field(default=(), kw_only=True)
    """The rollbacks whose version has come back since, the oldest first: its tag, and reason, restored and at."""

    @property
    def previous(self) -> Version | None:
        """The version that a rollback goes to when none is named."""
        usable = [each for each in self.versions if each.tag not in self.withdrawn]
        now = self.champion or self.lost
        others = [each for each in usable if now is None or each.key != now.key]
        return others[0] if others else None


@dataclass(frozen=True)
class Publication:
    """A version at its place: plain values, so that a record can carry it."""

    target: TargetKind
    place: str
    """The repository, or the folder of the model's versions."""
    key: str
    tag: str
    url: str
    """Where the version is: an address, or its folder."""
    current: str
    """Where users of the model find the champion: an address, or the folder's pointer."""
    commit: str = ""
    """The Hub's commit on main."""


class Target(Protocol):
    """A place where models are published."""

    @property
    def kind(self) -> TargetKind:
        """Which kind of target it is."""
        ...

    @property
    def place(self) -> str:
        """The repository, or the folder of the model's versions."""
        ...

    def state(self) -> TargetState:
        """Return what the target holds now; nothing is changed."""
        ...

    def describe(self, key: str) -> Publication:
        """Return where a version is, or would be; the target is not asked. Without a key that of the place alone."""
        ...

    def fetch(self, tag: str, folder: Path, names: Iterable[str] | None = None) -> Listing:
        """Bring a version's files (or those of ``names`` that it has) into a folder that is emptied first.

        Digests are compared. Raises InputMissingError when there is no such version, TemporaryError or StoreError when
        the bytes differ.
        """
        ...

    def publish(self, key: str, files: Mapping[str, Path], smoke: Smoke, expected: str | None = None) -> Publication:
        """Make ``files`` (names to places, receipt.json among them) current as version ``key``.

        A version that is current already, whole, is left as it is, whatever ``files`` says; one that has been there
        before is put back. ``expected`` is that of the state on which the decision to publish rests; None: whatever is
        there. Raises SettingsError for a version that was withdrawn, what ``smoke`` raises, TemporaryError when
        somebody else changed what is current meanwhile.
        """
        ...

    def rollback(self, to: str, reason: str, smoke: Smoke, expected: str | None = None) -> Publication:
        """Make the version tagged ``to`` current again, and withdraw the one that is, with the reason.

        ``expected`` is as for ``publish``: that of the state in which ``to`` was the one to go back to.
        Raises SettingsError without a reason, InputMissingError when there is no such version, else as ``publish``.
        """
        ...

    def settle(self) -> None:
        """See to its end what a killed publisher left undone, without changing what is current."""
        ...

    def why_not_held(self, key: str) -> str:
        """Say why the target does not hold this version, whole, as the current one; empty when it does."""
        ...


def tag_of(key: str) -> str:
    """Return the tag of a version: with a letter in front, for bare digits could be a commit's id."""
    return f"v-{key[:12]}"


def check_version(key: str, files: Iterable[str]) -> None:
    """Refuse what cannot be published: a key of another form, or a file of a target's own name. InternalError."""
    if not re.fullmatch(r"[0-9a-f]{12,128}", key):
        raise InternalError(
            f"{key!r} is no key: 12 or more hexadecimal digits were expected",
            why="a version's key is the SHA-256 of its receipt",
            do="report this with the log as a defect of podsquad; nothing was published",
        )
    for name in files:
        parts = name.split("/")
        if name in OWN_FILES or not all(parts) or any(part in (".", "..") for part in parts):
            raise InternalError(
                f"{name!r} cannot be the name of a file of a publication",
                why="targets keep that name for themselves, or it leads out of the version's folder",
                do="report this with the log as a defect of podsquad; nothing was published",
            )


def refuse_withdrawn(state: TargetState, key: str, place: str) -> None:
    """Refuse to publish a version that was rolled back. Raises SettingsError."""
    if reason := state.withdrawn.get(tag_of(key), {}).get("reason"):
        raise SettingsError(
            f"the version {tag_of(key)} was withdrawn from {place}",
            why=f"it was rolled back: {reason}",
            do=f"bring it back with: podsquad rollback --to {tag_of(key)} --reason TEXT",
        )


def refuse_lost(target: Target, state: TargetState) -> None:
    """Refuse to go on where the champion cannot be read: nobody is then the first. Raises StoreError."""
    if state.lost is None:
        return
    anew = f", or remove {target.describe('').current} to begin anew" if target.kind == "folder" else ""
    raise StoreError(
        f"the champion {state.lost.tag} in {target.place} cannot be read: its {FILES_FILE} is damaged or gone",
        why="nothing can be compared with it, and what is not compared is not published in its place",
        do=f"go to a whole version with: podsquad rollback --to TAG --reason TEXT, or put the file back{anew}",
    )


def one_line(reason: str) -> str:
    """Return the reason of a rollback in one line. Raises SettingsError where there is none."""
    reason = " ".join(reason.split())
    if not reason:
        raise SettingsError(
            "a rollback needs a reason",
            why="it is kept where the model is published, and told when that version would come in again",
            do="give one with --reason TEXT",
        )
    return reason
