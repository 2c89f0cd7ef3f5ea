"""What a failed load of a base model means: try again, repair a setting, or give up.

Told by HTTP status and by the names of error classes along the chain of causes: transformers wraps what the Hub's
client raised into an OSError of its own.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from podsquad.errors import InputMissingError, PodsquadError, SettingsError, TemporaryError, from_os_error

_SECRETS = re.compile(r"hf_[A-Za-z0-9]+|Bearer\s+\S+")
_REFUSED = {"GatedRepoError", "DisabledRepoError"}
_MISSING = {"RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", "EntryNotFoundError"}
# LocalEntryNotFoundError: not in the cache, and the Hub could not be asked.
_NETWORK = {"LocalEntryNotFoundError", "TransportError", "RequestException", "ConnectionError", "TimeoutError"}
_PASSING_STATUS = {408, 409, 425, 429}


def explain_load_error(error: BaseException, base: str, revision: str | None) -> PodsquadError:
    """Translate what transformers raised for ``base`` into the tree of ``podsquad.errors``; no token is in it.

    Refused (401, 403, gated): SettingsError. Not there: InputMissingError. No network, 429, 5xx: TemporaryError. A
    full disk: DiskFullError. A folder without weights, weights that cannot be read, code that would have to run:
    SettingsError.
    """
    if isinstance(error, PodsquadError):
        return error
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    status = next((status for link in chain if (status := _status(link)) is not None), None)
    what = f"cannot load model.base {base}" + (f" at revision {revision}" if revision else "")
    said = _SECRETS.sub("***", f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}")
    for link in chain:
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return from_os_error(link, f"loading {base}")
    if os.path.isdir(base):
        return SettingsError(
            what, why=said, do="set model.base to a folder with a transformers model: config.json, model.safetensors"
        )
    if names & _REFUSED or status in (401, 403):
        return SettingsError(
            f"{what}: the Hub refuses access",
            why="it is private or gated, or does not exist, and the token lacks that right. " + said,
            do="check model.base, accept its conditions on its page, and set HF_TOKEN",
        )
    passing = status is not None and (status in _PASSING_STATUS or status >= 500)
    if "OfflineModeIsEnabled" in names:
        return InputMissingError(
            f"{what}: offline mode is set and there is no copy in the cache",
            why=said,
            do="unset HF_HUB_OFFLINE for one run, or set model.base to a folder",
        )
    if not passing and (names & _MISSING or status == 404) and "LocalEntryNotFoundError" not in names:
        return InputMissingError(
            f"{what}: there is no such model, revision or file", why=said, do="check model.base and model.revision"
        )
    if passing or names & _NETWORK:
        return TemporaryError(
            f"{what}: the Hub could not be reached or did not answer",
            why=said,
            do="run the same command again later; without a network, set model.base to a folder",
        )
    return SettingsError(
        what, why=said, do="set model.base to an encoder that transformers has a question-answering model for"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
