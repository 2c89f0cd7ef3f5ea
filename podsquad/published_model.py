"""The model that ``podsquad ask`` asks where none is named: what the target holds, brought here from the Hub."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from podsquad.config.settings import Settings
from podsquad.errors import InputMissingError, from_os_error
from podsquad.publishing.folder import CURRENT
from podsquad.publishing.places import target_of
from podsquad.publishing.target import Champion, Target, refuse_lost
from podsquad.store.durable import TEMPORARY_PREFIX, move_folder

FETCHED = ".fetched"  # inside the store, so on a disk that is meant to hold models
_LOCK_FILE = ".lock"
_DO = "run podsquad run first, or name a model's folder with --model"


def published_model(settings: Settings, log: Callable[[str], None]) -> Path:
    """Return a folder with the champion's files.

    A folder's pointer is that folder. From the Hub the champion is fetched into the store, once, whoever asks at the
    same time: what is there, whole, is taken as it is. Of each repository the version before it is kept too, for
    another process may be reading that.

    Raises InputMissingError when nothing is published there, StoreError for a champion that cannot be read, and what
    the Hub's errors are explained as.
    """
    publish = settings.publish
    if publish.target == "folder":
        pointer = publish.folder / publish.name / CURRENT
        if not pointer.is_dir():
            why = "no run has published there yet, or publish.folder or publish.name is another"
            raise InputMissingError(f"nothing is published in {pointer}", why=why, do=_DO)
        return pointer
    with target_of(publish, log) as target:
        state = target.state()
        refuse_lost(target, state)
        if state.champion is None:
            absent = "there is no such repository, or the token may not see it"
            why = "podsquad has published no version there" if state.exists else absent
            raise InputMissingError(f"nothing is published in {target.describe('').current}", why=why, do=_DO)
        home = settings.store.path.absolute() / FETCHED / target.place.replace("/", "--")
        try:
            return _fetched(target, state.champion, home, log)
        except OSError as error:
            raise from_os_error(error, f"fetching {target.place}", "--set store.path=FOLDER") from error


def _fetched(target: Target, champion: Champion, home: Path, log: Callable[[str], None]) -> Path:
    folder = home / champion.tag
    if _is_whole(folder, champion):
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home, log):
        if _is_whole(folder, champion):  # another process fetched it meanwhile
            return folder
        _remove_leftovers(home)
        log(f"fetching {champion.tag} of {target.place} to {folder}")
        staging = home / (TEMPORARY_PREFIX + uuid.uuid4().hex)
        target.fetch(champion.tag, staging)
        others = sorted((each for each in home.glob("v-*") if each != folder), key=lambda each: each.stat().st_mtime)
        for former in others[:-1]:
            shutil.rmtree(former)
        move_folder(staging, folder, home / (TEMPORARY_PREFIX + uuid.uuid4().hex))
        _remove_leftovers(home)
    return folder


@contextmanager
def _locked(home: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time fetch into ``home``; who has to wait is told why."""
    lock = FileLock(home / _LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log(f"another process is fetching to {home}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_whole(folder: Path, champion: Champion) -> bool:
    return folder.is_dir() and not champion.listing.differing(folder)


def _remove_leftovers(home: Path) -> None:
    """Remove what a killed fetch left, and a damaged version that was replaced; the caller holds the lock."""
    for entry in home.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(entry)
