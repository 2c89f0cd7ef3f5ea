"""What a failed call to the Hugging Face Hub means: wait, repair a setting, or give up; for readers and publisher.

Told by HTTP status and by the names of error classes along the chain of causes, not by importing those classes: they
moved between releases of datasets, transformers, huggingface_hub, requests and httpx, a caller may run without any of
them, and each wraps what the one below raised. This module also runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from traceback import walk_tb
from typing import NamedTuple

from podsquad.errors import (
    InputMissingError,
    PodsquadError,
    SettingsError,
    TemporaryError,
    from_os_error,
    hide_secrets,
)

_REFUSED = {"GatedRepoError", "DisabledRepoError", "LocalTokenNotFoundError"}
_REFUSED_STATUS = {401, 402, 403}
_OFFLINE = "OfflineModeIsEnabled"
_MISSING = {
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "RemoteEntryNotFoundError",
    "EntryNotFoundError",
    "DatasetNotFoundError",
    "DataFilesNotFoundError",
}
_NOT_IN_CACHE = "LocalEntryNotFoundError"  # not in the cache, and the Hub could not be asked
_NETWORK = {
    _NOT_IN_CACHE,
    "TransportError",  # httpx: connect, read and protocol errors, and timeouts
    "RequestException",  # requests
    "ClientError",  # aiohttp
    "ChecksumVerificationError",
    "ConnectionError",
    "TimeoutError",
}
# Timeouts, conflicts with a change by somebody else and rate limits heal by waiting, as do all of 5xx.
_PASSING_STATUS = {408, 409, 412, 425, 429}
# What reading an answer raises that is no JSON, or is not built as the Hub's answers are, and the modules that read
# them. What reads a data file or a config raises the same elsewhere.
_MISREADINGS = (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError, LookupError)
_READERS_OF_ANSWERS = ("httpx", "huggingface_hub.hf_api")


class Wording(NamedTuple):
    """What a caller was about, and the way out of each kind of failure, in its own words."""

    what: str
    """The headline, as "cannot load the dataset squad at revision main"."""
    doing: str
    """The same as what one is doing, as "downloading the dataset squad"."""
    refused: str
    missing: str
    offline: str
    unreachable: str
    other: str
    other_kind: type[PodsquadError]
    """What a failure is that is none of the Hub's: what came from it cannot be used."""


def explain_hub_error(error: BaseException, wording: Wording) -> PodsquadError:
    """Translate what a call to the Hub raised into the tree of ``podsquad.errors``; no token is in the message.

    Access refused (401, 402, 403, gated, no token): SettingsError. Not there (404, unknown name, revision or file,
    offline mode without a copy): InputMissingError. No network, timeouts, cut connections, 408, 409, 412, 425, 429,
    5xx, an answer that cannot be read: TemporaryError. A full disk: DiskFullError. An error of podsquad's own along the
    chain: that. Anything else: ``wording.other_kind``.

    Raise it outside of the ``except`` block or ``from None``: the frames of the client hold the token.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    status = status_of(error)
    what = wording.what
    told = what + (f" (HTTP {status})" if status else "")
    said = first_line(error)
    if error.__cause__ is not None and getattr(error, "response", None) is None:
        said += f" (caused by {first_line(chain[-1])})"  # a wrapping that says little: an upload failed
    for link in chain:
        if isinstance(link, PodsquadError):
            return link
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return from_os_error(link, wording.doing)
    if names & _REFUSED or status in _REFUSED_STATUS:
        return SettingsError(
            told + ": the Hub refuses access",
            why="it is private or gated, or does not exist, and the token is missing, wrong or without that right. "
            + said,
            do=wording.refused,
        )
    # datasets raises a plain ConnectionError for it, with the name of the true cause in its text alone.
    if _OFFLINE in names or any(_OFFLINE in str(link) for link in chain):
        return InputMissingError(
            what + ": offline mode is set and there is no copy in the cache", why=said, do=wording.offline
        )
    passing = status is not None and is_passing(status)
    if not passing and (names & _MISSING or status == 404) and _NOT_IN_CACHE not in names:
        return InputMissingError(told + ": there is no such name, revision or file", why=said, do=wording.missing)
    if passing or names & _NETWORK:
        return TemporaryError(
            told + ": the Hub could not be reached or did not answer", why=said, do=wording.unreachable
        )
    if any(_is_misreading(link) for link in chain):
        return TemporaryError(
            what + ": the Hub's answer cannot be read",
            why=f"a proxy, or a page to sign in at, often answers in the Hub's place. {said}",
            do=wording.unreachable,
        )
    return wording.other_kind(what, why=said, do=wording.other)


def is_passing(status: int) -> bool:
    """Tell whether the same request, unchanged, may succeed after an answer of this HTTP status."""
    return status in _PASSING_STATUS or status >= 500


def first_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its text, without secrets; deeper lines repeat the request."""
    lines = str(error).strip().splitlines() or ["no message"]
    return hide_secrets(f"{type(error).__name__}: {lines[0]}")


def status_of(error: BaseException) -> int | None:
    """Return the first HTTP status along the chain of causes."""
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _is_misreading(error: BaseException) -> bool:
    """Tell whether the client failed over what an answer says, by the innermost function that is not json's."""
    if not isinstance(error, _MISREADINGS):
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    reader = next((name for name in reversed(modules) if name.partition(".")[0] != "json"), "")
    return reader.startswith(_READERS_OF_ANSWERS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
