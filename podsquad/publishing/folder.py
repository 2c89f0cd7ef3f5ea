"""The folder target: versions side by side, and a pointer to the current one.

    <folder>/<name>/versions/v-<first 12 digits of key>/    the version's files, and files.json
    <folder>/<name>/turns.json                              the order in which versions became current (folder_turns.py)
    <folder>/<name>/current                                 relative symlink to the current version

A version appears by one rename, after its copied bytes were read again, compared, and a smoke question was answered
from them; the pointer moves by one rename after that. A reader of ``current`` sees the old version or the new one,
whole, after a kill at any instant too. One process at a time changes anything, under a lock of the operating system.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from podsquad.errors import InputMissingError, InternalError, StoreError, TemporaryError, from_os_error
from podsquad.publishing.folder_files import (
    copy_file,
    damaged,
    listing_in,
    receipt_in,
    remove_leftovers,
    wrong_files,
)
from podsquad.publishing.folder_turns import Turn, read_turns, rollbacks_in, versions_of, write_turns
from podsquad.publishing.listing import FILES_FILE, Listing, known_digest
from podsquad.publishing.target import (
    STAMP,
    Champion,
    Publication,
    Smoke,
    TargetKind,
    TargetState,
    Version,
    check_version,
    one_line,
    refuse_withdrawn,
    tag_of,
)
from podsquad.publishing.version_files import model_of
from podsquad.store.durable import TEMPORARY_PREFIX, canonical_json, flush_folder, move_folder, write_bytes
from podsquad.store.removal import remove

CURRENT = "current"
VERSIONS = "versions"
_LOCK_FILE = ".lock"
_ASIDE = ".damaged-"


@dataclass(frozen=True)
class FolderTarget:
    """The folder ``<folder>/<name>`` as the place where models are published."""

    folder: Path
    name: str
    log: Callable[[str], None] = lambda line: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    lock_timeout_seconds: float = 600.0

    @property
    def kind(self) -> TargetKind:
        """Which kind of target it is."""
        return "folder"

    @property
    def place(self) -> str:
        """The folder of the model's versions."""
        return str(self.home)

    @property
    def home(self) -> Path:
        """The same as a path."""
        return self.folder / self.name

    @property
    def pointer(self) -> Path:
        """The symlink to the current version."""
        return self.home / CURRENT

    def path(self, tag: str) -> Path:
        """Return the folder of a version."""
        return self.home / VERSIONS / tag

    def state(self) -> TargetState:
        """Return what the folder holds now; one that is not there holds nothing.

        Raises DataError when podsquad's own files there cannot be read.
        """
        if not self.home.is_dir():
            return TargetState(False, None, {}, (), "")
        with self._os_errors_explained():
            current = self._current()
            listing = listing_in(current) if current.is_dir() else None
            turns = read_turns(self.home, listing.key if listing else None)
            champion = Champion(listing.key, listing, receipt_in(current)) if listing else None
            there = [each for each in versions_of(turns) if self.path(each.tag).is_dir()]
            link = str(self.pointer.readlink()) if self.pointer.is_symlink() else ""
        told = canonical_json([link, [asdict(turn) for turn in turns]]) if link or turns else ""
        expected = hashlib.sha256(told.encode()).hexdigest() if told else ""
        lost = None
        if link and champion is None:
            name = Path(link).name
            lost = Version(next((turn.key for turn in turns if tag_of(turn.key) == name), name.removeprefix("v-")))
        withdrawn, undone = rollbacks_in(turns)
        return TargetState(True, champion, withdrawn, tuple(there), expected, lost=lost, undone=undone)

    def describe(self, key: str) -> Publication:
        """Return where a version is, or would be. Without a key that of the place alone."""
        tag = tag_of(key) if key else ""
        url = str(self.path(tag)) if key else ""
        return Publication("folder", self.place, key, tag, url, str(self.pointer))

    def fetch(self, tag: str, folder: Path, names: Iterable[str] | None = None) -> Listing:
        """Copy a version's files (or those of ``names`` that it has) into a folder that is emptied first.

        Raises InputMissingError when there is no such version, StoreError when its bytes are not as it lists.
        """
        version = self.path(tag)
        listing = listing_in(version) if version.is_dir() else None
        if listing is None:
            raise InputMissingError(
                f"{self.home} has no version {tag}",
                why="it was never published there, or was removed",
                do="podsquad runs lists what was published",
            )
        shutil.rmtree(folder, ignore_errors=True)
        with self._os_errors_explained():
            for name in sorted(set(listing.files) & set(listing.files if names is None else names)):
                if not (version / name).is_file() or copy_file(version / name, folder / name) != listing.files[name]:
                    raise damaged(version, [name])
        return listing

    def publish(self, key: str, files: Mapping[str, Path], smoke: Smoke, expected: str | None = None) -> Publication:
        """Publish ``files`` as version ``key`` and point ``current`` at it, as Target says.

        A version whose files differ from its own files.json is built again. Other versions are never touched.

        Raises SettingsError for a version that was withdrawn; what ``smoke`` raises; InternalError when the copy
        differs from its source; StoreError (DiskFullError) when the folder cannot be written; TemporaryError when
        somebody else moved the pointer meanwhile, or publishes for longer than ``lock_timeout_seconds``.
        """
        check_version(key, files)
        with self._locked():
            state = self.state()
            refuse_withdrawn(state, key, self.place)
            is_current = state.champion is not None and state.champion.key == key
            if not is_current and expected not in (None, state.expected):
                raise TemporaryError(
                    f"somebody else changed what is current in {self.home} while this version was being judged",
                    why=f"it is {state.champion.tag if state.champion else 'nothing'} now",
                    do="run the same command again: the gate compares with what is there now",
                )
            if not self._is_whole(key):
                self._refuse_other_model(key)
                self._build(key, files, smoke)
            elif not is_current:
                smoke(self.path(tag_of(key)))
            if not is_current:
                self._turn(key, "")
            return self.describe(key)

    def rollback(self, to: str, reason: str, smoke: Smoke, expected: str | None = None) -> Publication:
        """Point ``current`` at the version ``to`` again, and withdraw the one that is current.

        The reason is in the turn. A version that is current already is left there: the call can be made again.

        Raises SettingsError without a reason, InputMissingError when there is no such version, StoreError when it is
        not whole any more, else as ``publish``.
        """
        reason = one_line(reason)
        with self._locked():
            state = self.state()
            known = {each.tag: each.key for each in state.versions}
            if to not in known:
                raise InputMissingError(
                    f"{self.home} has no version {to}",
                    why=f"its versions are: {', '.join(known) or 'none'}",
                    do="name one of them with --to",
                )
            key = known[to]
            if wrong := wrong_files(self.path(tag_of(key)), key):
                raise damaged(self.path(to), wrong)
            if state.champion is None or state.champion.key != key:
                if expected not in (None, state.expected):
                    raise TemporaryError(
                        f"somebody else changed what is current in {self.home} just now",
                        why=f"it is {state.champion.tag if state.champion else 'nothing'} now, and was another",
                        do="look at what podsquad runs tells, and roll back again if that is still wanted",
                    )
                smoke(self.path(to))
                self._turn(key, reason)
            return self.describe(key)

    def settle(self) -> None:
        """See to its end what a killed publisher left undone: what it left lying goes, what it took aside is put back.

        What is current stays as it is. Raises as ``publish`` where the folder cannot be written, or is being.
        """
        if self.home.is_dir():
            with self._locked():
                pass  # who takes the lock tidies first

    def why_not_held(self, key: str) -> str:
        """Say why the version is not the current one, or not whole; empty when it is.

        Every byte of it is read, once by a process as long as no file changes: a night looks several times.
        A target that cannot be read does not hold it.
        """
        tag = tag_of(key)
        try:
            if not self.pointer.is_symlink() or self.pointer.readlink() != Path(VERSIONS) / tag:
                return f"{self.pointer} does not hold this version"
            wrong = wrong_files(self.path(tag), key, known_digest)
        except OSError as error:
            return f"{self.pointer} cannot be read: {error.strerror or error}"
        return f"{', '.join(wrong)} of {self.path(tag)} changed since" if wrong else ""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._os_errors_explained():
            (self.home / VERSIONS).mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self.home / _LOCK_FILE, timeout=self.lock_timeout_seconds):
                    remove_leftovers(self.home)
                    self._put_back()
                    yield
            except Timeout as error:
                raise TemporaryError(
                    f"another process has been publishing to {self.home} for {self.lock_timeout_seconds:g} seconds",
                    why="one at a time may change what is current there",
                    do="run the same command again when it is done",
                ) from error

    @contextmanager
    def _os_errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            elsewhere = "--set publish.folder=FOLDER"
            raise from_os_error(error, f"publishing {self.name} to {self.folder}", elsewhere) from error

    def _build(self, key: str, files: Mapping[str, Path], smoke: Smoke) -> None:
        staging = self.home / (TEMPORARY_PREFIX + uuid.uuid4().hex)
        staging.mkdir()
        try:
            listing = Listing(key, {name: copy_file(source, staging / name) for name, source in sorted(files.items())})
            if wrong := listing.differing(staging):
                raise InternalError(
                    f"{', '.join(wrong)} read back with other bytes than were written to {self.home}",
                    why="the disk or the network file system under it does not keep what it is given",
                    do="publish to another folder with --set publish.folder=FOLDER",
                )
            smoke(staging)
            write_bytes(staging / FILES_FILE, listing.encode())
            aside = self._aside(tag_of(key))
            move_folder(staging, self.path(tag_of(key)), aside)  # a damaged one is users' until the last moment
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        remove(aside)
        remove_leftovers(self.home)

    def _aside(self, tag: str) -> Path:
        """Return where a damaged version waits while it is built anew."""
        return self.home / f"{_ASIDE}{tag}"

    def _put_back(self) -> None:
        """Put a damaged version back that a kill left aside, for a damaged one is more than none to its users.

        Where the version was built anew, what waits aside is removed.
        """
        for aside in self.home.glob(f"{_ASIDE}*"):
            version = self.path(aside.name.removeprefix(_ASIDE))
            if os.path.lexists(version):
                remove(aside)
            else:
                aside.rename(version)

    def _current(self) -> Path:
        """Return the current version's folder; after a kill in mid-repair, where the damaged one waits."""
        aside = self._aside(self.pointer.readlink().name) if self.pointer.is_symlink() else self.pointer
        return self.pointer if self.pointer.is_dir() else aside

    def _turn(self, key: str, reason: str) -> None:
        """Make a version current that is there and whole: the turn is written, then the pointer decides."""
        listing = listing_in(self.pointer) if self.pointer.is_dir() else None
        turns = read_turns(self.home, listing.key if listing else None)
        if not turns or turns[-1].key != key:  # else a publisher died before there was a pointer
            theirs = listing_in(self.path(tag_of(key)))
            model = model_of(theirs) if theirs else ""
            write_turns(self.home, [*turns, Turn(key, self.now().strftime(STAMP), reason, model)])
        aside = self.home / (TEMPORARY_PREFIX + uuid.uuid4().hex)
        # Relative: the published folder can be moved, or mounted elsewhere.
        aside.symlink_to(Path(VERSIONS) / tag_of(key))
        try:
            aside.replace(self.pointer)
        except OSError:
            aside.unlink()
            raise
        flush_folder(self.home)
        self.log(f"{self.pointer} leads to {tag_of(key)}")

    def _is_whole(self, key: str) -> bool:
        try:
            return not wrong_files(self.path(tag_of(key)), key)
        except OSError:
            return False

    def _refuse_other_model(self, key: str) -> None:
        path = self.path(tag_of(key))
        other = listing_in(path)
        if other and other.key != key and tag_of(other.key) == tag_of(key):
            raise StoreError(
                f"{path} holds another model, of key {other.key}",
                why="two keys share their first 12 digits, by which versions are named",
                do="publish under another name with --set publish.name=NAME",
            )
