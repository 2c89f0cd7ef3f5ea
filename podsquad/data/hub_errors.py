"""What a failed download from the Hugging Face Hub means: try again, repair a setting, or give up.

Told by HTTP status and by the names of error classes along the chain of causes, not by importing those
classes: they moved between releases of datasets, huggingface_hub, requests and httpx, and the caller may run
without any of them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from podsquad.errors import (
    DataError,
    InputMissingError,
    PodsquadError,
    SettingsError,
    TemporaryError,
    from_os_error,
)

_SECRETS = re.compile(r"(hf_|Bearer\s+)[A-Za-z0-9_\-.=]+|(?<=://)[^/@\s]+:[^/@\s]+(?=@)", re.IGNORECASE)
_REFUSED = {"GatedRepoError", "DisabledRepoError"}
_OFFLINE = {"OfflineModeIsEnabled"}
_MISSING = {
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "RemoteEntryNotFoundError",
    "EntryNotFoundError",
    "DatasetNotFoundError",
    "DataFilesNotFoundError",
}
_NETWORK = {
    "LocalEntryNotFoundError",  # not in the cache, and the Hub could not be asked
    "TransportError",  # httpx: connect, read and protocol errors, and timeouts
    "RequestException",  # requests
    "ClientError",  # aiohttp
    "ChecksumVerificationError",
}
# Timeouts, rate limits and conflicts heal by waiting, as do all of 5xx.
_PASSING_STATUS = {408, 409, 425, 429}


def hide_secrets(text: str) -> str:
    """Return the text with access tokens and passwords in addresses replaced by ``***``."""
    return _SECRETS.sub(lambda match: (match.group(1) or "") + "***", text)


def explain_hub_error(error: BaseException, name: str, revision: str) -> PodsquadError:
    """Translate what a load of dataset ``name`` at ``revision`` raised into the tree of ``podsquad.errors``.

    Access refused (401, 403, gated): SettingsError. Not there (404, unknown name or revision, offline mode
    without a copy): InputMissingError. Network refused, timeouts, 408, 409, 425, 429, 5xx: TemporaryError. A
    full disk: DiskFullError. Anything else: DataError. The token is in no message.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    statuses = [status for link in chain if (status := _status(link)) is not None]
    status = statuses[0] if statuses else None
    what = f"cannot load the dataset {name} at revision {revision}"
    # The first line of the error itself: deeper ones repeat the request.
    said = hide_secrets(f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}")

    for link in chain:
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return from_os_error(link, f"downloading the dataset {name}")
    if names & _REFUSED or status in (401, 403):
        return SettingsError(
            f"{what}: the Hub refuses access" + (f" (HTTP {status})" if status else ""),
            why="it is private or gated, or does not exist, and the token is missing, wrong or without that "
            "right. " + said,
            do="check data.hub_dataset, accept the dataset's conditions on its page, and set HF_TOKEN",
        )
    # datasets raises a plain ConnectionError for it, with the name of the true cause in its text alone.
    if names & _OFFLINE or any(name in str(link) for link in chain for name in _OFFLINE):
        return InputMissingError(
            f"{what}: offline mode is set and there is no copy in the cache",
            why=said,
            do="unset HF_HUB_OFFLINE and HF_DATASETS_OFFLINE for one run, or use data.source=files",
        )
    passing = status is not None and (status in _PASSING_STATUS or status >= 500)
    if not passing and (names & _MISSING or status == 404) and "LocalEntryNotFoundError" not in names:
        return InputMissingError(
            f"{what}: there is no such dataset or revision" + (f" (HTTP {status})" if status else ""),
            why=said,
            do="check data.hub_dataset and data.hub_revision; a private dataset also needs HF_TOKEN",
        )
    if passing or names & _NETWORK or any(isinstance(link, ConnectionError | TimeoutError) for link in chain):
        return TemporaryError(
            f"{what}: the Hub could not be reached or did not answer" + (f" (HTTP {status})" if status else ""),
            why=said,
            do="run the same command again later; without a network, use data.source=files",
        )
    return DataError(
        what,
        why=said,
        do="check that it is a dataset in SQuAD's layout that the installed datasets library can read",
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
