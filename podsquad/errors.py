"""Every error that podsquad raises on purpose.

    PodsquadError
    ├── SettingsError      a setting is unknown, out of range or does not fit the others    stop    exit 64
    ├── DataError          the data cannot be read, or too much of it is bad                stop    exit 65
    ├── InputMissingError  a file or folder that a setting names is not there               stop    exit 66
    ├── InternalError      podsquad or a runtime broke its own promise: a bug               stop    exit 70
    │   └── DivergedError  the loss became NaN or infinite                                  stop    exit 70
    ├── StoreError         the store cannot be written or read                              resume  exit 73
    │   └── DiskFullError  no space is left where the store, or a scratch file, lies        resume  exit 74
    └── TemporaryError     the same again may well succeed: network, killed child           retry   exit 75
        ├── StoppedError   asked to stop; what was done is saved and will be reused         retry   exit 75
        └── LeaseLostError the right to build is lost: taken over, or the store removed     retry   exit 75

The remedy is one of three. retry: the flow tries the stage again by itself, and a person may run the same later.
resume: somebody mends the place first, then the same command goes on from where it stopped. stop: the same again would
end the same; a setting, the data or the code has to change. Prefect's retry condition and the exit code are read from
the class and nowhere else. docs/failures.md lists every error that the code raises (scripts/failures.py).

A message has three parts: what happened (with the values), why it matters or what likely caused it, and what
to do. The exit codes are those of sysexits.h.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Dict, Iterator, Optional, Type

RETRY, RESUME, STOP = "retry", "resume", "stop"
# Tokens, passwords in addresses, and the signatures of the addresses that large files are sent to and read from.
_SECRETS = re.compile(
    r"((?-i:hf_)(?=[A-Za-z0-9]{10})|Bearer\s+|Signature=|Credential=|Security-Token=|Policy=)[A-Za-z0-9_\-.=%/+~]+"
    r"|(?<=://)[^/@\s]+:[^/@\s]+(?=@)",
    re.IGNORECASE,
)
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
_SHORTEST_TOKEN = 8
NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # in the host, for another process or open file


class PodsquadError(Exception):
    """Carry a headline, the likely cause and the way out of a failure that podsquad foresaw.

    ``str(error)`` is one paragraph whose first line says everything a log's reader needs at once. No token is in it,
    whoever repeats one: a library, or a runtime's last words.
    """

    exit_code = 70
    remedy = STOP

    def __init__(self, what: str, *, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = (hide_secrets(part) for part in (what, why, do))
        super().__init__(self.what)

    @property
    def heals(self) -> bool:
        """Tell whether the same again, unchanged, may succeed."""
        return self.remedy == RETRY

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append("Why: " + self.why)
        if self.do:
            lines.append("Do: " + self.do)
        return "\n".join(lines)

    def __reduce__(self) -> tuple:  # type: ignore[type-arg]
        return (_rebuild, (type(self), self.what, self.why, self.do))


class SettingsError(PodsquadError):
    """A setting is unknown, out of range, or does not fit the others."""

    exit_code = 64


class DataError(PodsquadError):
    """The data cannot be read as what it claims to be, or too much of it is bad."""

    exit_code = 65


class InputMissingError(PodsquadError):
    """A file or folder that a setting or an argument names is not there."""

    exit_code = 66


class InternalError(PodsquadError):
    """podsquad or one of its runtimes broke a promise of its own."""

    exit_code = 70


class DivergedError(InternalError):
    """The training's loss became NaN or infinite; no checkpoint was written after it."""


class StoreError(PodsquadError):
    """The store cannot be read or written."""

    exit_code = 73
    remedy = RESUME


class DiskFullError(StoreError):
    """No space is left on the device that holds the store or a scratch file."""

    exit_code = 74


class TemporaryError(PodsquadError):
    """Something outside podsquad failed in a way that often heals by itself."""

    exit_code = 75
    remedy = RETRY


class StoppedError(TemporaryError):
    """A stop was asked for; what was done so far is saved and will be reused."""


class LeaseLostError(TemporaryError):
    """The right to build is lost: another run took it over for want of a sign of life, or the store was removed."""


def hide_secrets(text: str) -> str:
    """Return the text with access tokens, signatures and passwords in addresses replaced by ``***``.

    Tokens are known by their form, and those in the environment by their values.
    """
    for name in TOKEN_VARIABLES:
        token = os.environ.get(name, "")
        if len(token) >= _SHORTEST_TOKEN:
            text = text.replace(token, "***")
    return _SECRETS.sub(lambda match: (match.group(1) or "") + "***", text)


def _rebuild(kind: Type[PodsquadError], what: str, why: str, do: str) -> PodsquadError:
    return kind(what, why=why, do=do)


def all_errors(root: Type[PodsquadError] = PodsquadError) -> Iterator[Type[PodsquadError]]:
    """Yield ``root`` and every class below it, parents before children."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


def error_named(name: str) -> Type[PodsquadError]:
    """Return the class of that name, or InternalError for a name that is none of ours."""
    by_name: Dict[str, Type[PodsquadError]] = {kind.__name__: kind for kind in all_errors()}
    return by_name.get(name, InternalError)


def os_error_of(error: BaseException, path: str = "") -> Optional[OSError]:
    """Return the operating system's error that an exception is or tells of; None when it tells of none.

    Libraries in Rust (safetensors, tokenizers) raise it as another kind and tell it in words alone: "File too large
    (os error 27)". ``path`` is the file, where the caller knows it.
    """
    if isinstance(error, OSError):
        return error
    told = re.search(r"\(os error (\d+)\)", str(error))
    if told is None or isinstance(error, PodsquadError):
        return None
    number = int(told.group(1))
    return OSError(number, os.strerror(number), path or None)


def from_os_error(error: OSError, doing: str, elsewhere: str = "--set store.path=FOLDER") -> PodsquadError:
    """Translate an operating system's refusal into the tree above; ``doing`` completes "while ...".

    ``elsewhere`` is what to write to use another place than the one that refused.

    Full disks, read-only places and missing rights become StoreErrors with a way out, a broken or silent connection
    and a host without room a TemporaryError, and an OSError that a library made up (it has no number) an InternalError;
    anything else keeps its number and text.
    """
    if isinstance(error, (ConnectionError, TimeoutError)):
        return TemporaryError(
            "a connection failed while {}: {}".format(doing, error.strerror or str(error) or type(error).__name__),
            why="the other side is gone or does not answer",
            do="run the same command again",
        )
    if error.errno is None:
        return InternalError(
            "{} while {}: {}".format(type(error).__name__, doing, error),
            why="a bug, or a library's refusal",
            do="report this with the log as a defect of podsquad",
        )
    if error.errno in NO_ROOM:
        return TemporaryError(
            "the host has no room while {}: {}".format(doing, error.strerror or error),
            why="its memory, or a limit on processes or on open files, is used up",
            do="run the same again when less runs on it",
        )
    where = str(error.filename) if error.filename else "the place"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        limit = "a limit on the size of a file is reached (ulimit -f, or the file system's)"
        full = limit if error.errno == errno.EFBIG else "the disk or the quota is full"
        return DiskFullError(
            "no space left for {} while {}".format(where, doing),
            why=full + "; nothing half-made was kept",
            do="free some space, or use a larger disk with {}, and run the same command again: finished stages are "
            "reused".format(elsewhere),
        )
    reasons: Dict[Optional[int], str] = {
        errno.EACCES: "this user may not write there",
        errno.EPERM: "this user may not write there",
        errno.EROFS: "the file system is mounted read-only",
        errno.ENOTDIR: "a part of that path is a file, not a folder",
        errno.ENOENT: "none of these can be written to: full, read-only, or not there"
        if "temporary directory" in (error.strerror or "")  # tempfile's, which tells all that it tried
        else "it is not there, or was removed meanwhile",
    }
    return StoreError(
        "cannot use {} while {}: {}".format(where, doing, error.strerror or error),
        why=reasons.get(error.errno, "the operating system refused (errno {})".format(error.errno)),
        do="make that path usable by this user, or use another with {}".format(elsewhere),
    )
