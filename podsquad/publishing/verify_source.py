"""Where a version to verify is: a folder, or a repository on the Hub at a revision, brought here file by file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from podsquad.errors import InputMissingError, SettingsError, StoreError, TemporaryError
from podsquad.publishing.folder import VERSIONS
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.hub_listing import read_tree
from podsquad.publishing.hub_state import MAIN
from podsquad.publishing.listing import FILES_FILE, read_digest
from podsquad.publishing.receipt import RECEIPT_FILE
from podsquad.publishing.target import WITHDRAWN_FILE
from podsquad.publishing.verify import Published
from podsquad.publishing.verify_store import list_all
from podsquad.store.contents import FileDigest, open_regular

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(.+))?")
_TAG = re.compile(r"v-[0-9a-f]{12}")
_BESIDE = frozenset((WITHDRAWN_FILE, ".gitattributes"))  # in a repository: podsquad's own notes, and the Hub's
_CLIENT = ".cache/huggingface"  # what the Hub's client keeps in a folder that it downloads a repository to


def open_version(where: str, scratch: Path) -> Published:
    """Return the version in a folder, or in ``REPO`` or ``REPO@REVISION`` on the Hub; main without a revision.

    ``scratch`` is a folder for downloads, emptied at will. Raises InputMissingError when there is nothing, or nothing
    that podsquad published; else as ``open_folder`` and ``open_repository``.
    """
    if Path(where).exists():
        return open_folder(Path(where))
    if found := _REPOSITORY.fullmatch(where):
        return open_repository(Hub(found[1]), found[2] or MAIN, scratch)
    raise InputMissingError(
        f"{where} is neither a folder nor a repository on the Hub",
        why="there is no such folder here, and a repository's name is OWNER/NAME",
        do="name a folder, or OWNER/NAME, or OWNER/NAME@REVISION",
    )


def open_folder(folder: Path) -> Published:
    """Return the version in a folder. Raises InputMissingError; StoreError when it cannot be read.

    In a folder that the Hub's client downloaded a repository to, as ``hf download`` does, may lie what may in one.
    """
    if not folder.is_dir():
        raise InputMissingError(
            f"{folder} is no folder", why="a version is a folder of files", do="name the folder of a published version"
        )
    try:
        home = folder.resolve()
        is_own = home.parent.name == VERSIONS  # of a folder target: nothing of the Hub's client belongs there
        has_notes = (home / _CLIENT).is_dir() and not is_own
        is_download = has_notes or home.parent.name == "snapshots"  # the latter: in the client's cache
        names = frozenset(name for name in list_all(home) if not (has_notes and name.startswith(f"{_CLIENT}/")))
    except OSError as error:
        raise _unreadable(folder, error) from error
    _refuse_strange(names, str(folder))
    tag = home.name if _TAG.fullmatch(home.name) else ""
    return Published(
        str(folder),
        names,
        lambda name: _read(home, name),
        lambda name: _digest(home, name),
        tag,
        _BESIDE if is_download else frozenset(),
    )


def open_repository(hub: Hub, revision: str, scratch: Path) -> Published:
    """Return the version in a repository at a revision, which is read once: a branch may move meanwhile.

    Only files that are asked for by name are downloaded, into ``scratch``, and removed again. Raises what
    ``explain_hub_error`` says, SettingsError where a token is refused.
    """
    place = f"{hub.repository}@{revision}"
    try:
        info = hub.find(f"looking at {place}", hub.api.model_info, revision=revision)
    except SettingsError as error:
        raise SettingsError(error.what, why=error.why, do="give a token that may read it in HF_TOKEN") from None
    if info is None:
        raise InputMissingError(
            f"there is no {place} on {hub.api.endpoint}",
            why="a private repository is not there for who may not read it",
            do="check the name and the revision, and set HF_TOKEN if it is private",
        )
    commit = str(info.sha)
    names = frozenset(read_tree(hub, commit))
    _refuse_strange(names, place)

    def read(name: str) -> bytes:
        content = hub.read(name, commit, scratch)
        if content is None:
            raise TemporaryError(
                f"{name} of {place} was listed and is gone",
                why="somebody changed the repository meanwhile",
                do="run the same command again",
            )
        return content

    def digest(name: str) -> FileDigest:
        try:
            hub.download([name], commit, scratch)
            return read_digest(scratch / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    return Published(place, names, read, digest, revision if _TAG.fullmatch(revision) else "", _BESIDE)


def _read(home: Path, name: str) -> bytes:
    try:
        with open_regular(home / name) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(home / name, error) from error


def _digest(home: Path, name: str) -> FileDigest:
    try:
        return read_digest(home / name)
    except OSError as error:
        raise _unreadable(home / name, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot read {path}: {error.strerror or error}",
        why="every byte of a version is read to verify it",
        do="see that it is a file that you may read, and run the same command again",
    )


def _refuse_strange(names: frozenset[str], place: str) -> None:
    if not names & {RECEIPT_FILE, FILES_FILE}:
        raise InputMissingError(
            f"{place} holds nothing that podsquad published",
            why=f"there is neither a {RECEIPT_FILE} nor a {FILES_FILE}",
            do="name the folder or the repository of a published version",
        )
