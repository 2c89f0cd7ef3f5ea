"""Where models are published: what a folder and a repository of the Hub both promise.

A *version* is a set of files that never changes again; its key is the SHA-256 of its receipt.json, which lists all the
others, so equal content is one version. One version at a time is the *champion*: what users of the model read. It
changes by one atomic act, and a reader sees the old version or the new one, whole.

A rollback puts an earlier version back and *withdraws* the champion of that moment, with a reason: from then on the
gate rejects the withdrawn weights. A rollback to a withdrawn version ends its withdrawal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

RECEIPT_FILE = "receipt.json"
FILES_FILE = "files.json"
VERSION_DIGITS = 12

Check = Callable[[Path], object]
"""Tries a version out in a folder that holds its files as the target gave them back; raises a PodsquadError if it
does not work."""


def version_of(key: str) -> str:
    """Return the name of a version: the first digits of its key."""
    return key[:VERSION_DIGITS]


@dataclass(frozen=True)
class Champion:
    """The version that users get now."""

    key: str
    receipt: Mapping[str, Any] | None
    """None where it cannot be had: damaged, or put there by something else."""
    damage: str = ""
    """What of it is not as it was published; empty: it is whole."""

    @property
    def version(self) -> str:
        """Its name."""
        return version_of(self.key)


@dataclass(frozen=True)
class Withdrawal:
    """Why a version was taken back, what took its place (a version's name), and when (ISO 8601, UTC)."""

    reason: str
    restored: str
    at: str


@dataclass(frozen=True)
class TargetState:
    """What a target holds at one moment."""

    champion: Champion | None = None
    versions: tuple[str, ...] = ()
    """Names of the versions that are there, by the time they last became champion, the newest first."""
    withdrawn: Mapping[str, Withdrawal] = field(default_factory=dict)
    """By the version's name."""
    revision: str = ""
    """Names this moment among those of this target, for ``publish`` to notice that another one has come since."""

    @property
    def previous(self) -> str | None:
        """The version that a rollback goes to when none is named."""
        current = self.champion.version if self.champion else None
        return next((each for each in self.versions if each != current and each not in self.withdrawn), None)


@dataclass(frozen=True)
class Published:
    """A version as users find it: plain values, so that a record can carry it."""

    key: str
    place: str
    """The version itself: its folder, or its page's address."""
    pointer: str
    """Where the champion is read, whichever it is: a folder, or the repository's address."""

    @property
    def version(self) -> str:
        """Its name."""
        return version_of(self.key)


class Target(Protocol):
    """A place for the versions of one model. Made by ``places.open_target``.

    Any method may raise SettingsError (no right, no such repository), StoreError (the folder cannot be used) and
    TemporaryError (the network, or somebody else's work at the same moment).
    """

    def state(self) -> TargetState:
        """Return what is there now; a target that is not there yet holds nothing."""

    def receipt(self, version: str) -> dict[str, Any] | None:
        """Return a version's receipt; None where there is none that can be read."""

    def fetch(self, version: str, folder: Path) -> None:
        """Put a version's files into a folder that is emptied first, and compare their digests.

        Raises InputMissingError when there is no such version, DataError or TemporaryError when it is damaged.
        """

    def publish(self, files: Mapping[str, Path], expected: TargetState, check: Check) -> Published:
        """Make the version of these files (names to places, receipt.json among them) the champion.

        Before it becomes visible its bytes are read back, compared, and tried by ``check``. Idempotent: after a kill
        at any instant the same call leaves the version there once, and a version that is champion already, whole, is
        left alone. Raises what ``check`` raises, and TemporaryError when the target is not as ``expected`` any more:
        the gate has judged against another champion then.
        """

    def rollback(self, version: str, reason: str, check: Check) -> Published:
        """Make an earlier version the champion again, by one atomic act, and withdraw the present one.

        A version that is champion already is left alone. Raises InputMissingError when there is no such version,
        SettingsError without a reason, and what ``check`` raises.
        """

    def published(self, key: str) -> Published:
        """Return where the version of that key is, or would be, found."""
