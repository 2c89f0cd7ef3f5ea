"""One accelerator, one user: a lock of the operating system per kind of device and host.

A scheduler's idea of what runs may be wrong: after an outage of its server a live training can be shown as crashed,
and a second one be started. This lock cannot be wrong. It is an flock on a file of the host; the runtime inherits its
descriptor, so it stays held while the parent or the runtime lives, and the kernel drops it when both are gone, however
they went. The file tells who holds it, for the one that waits.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from podsquad.errors import TemporaryError, from_os_error
from podsquad.store.durable import parse_json

LOOK_SECONDS = 1.0  # how often a waiter looks again
_SAY_AGAIN_SECONDS = 300.0
_LONGEST_RECORD_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """Who holds a device: what its lock file tells."""

    host: str
    pid: int
    what: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.what}, since {self.since})"


class Claim:
    """A device that this process holds. ``handle`` is to be inherited by whoever uses it: pass_fds=(handle,)."""

    def __init__(self, handle: int, what: str) -> None:
        self.handle = handle
        self._what = what

    def tell(self, pid: int) -> None:
        """Record that the process ``pid`` uses the device from now on."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        record = json.dumps(asdict(Holder(socket.gethostname(), pid, self._what, now))).encode()
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, record[:_LONGEST_RECORD_BYTES], 0)


def lock_folder() -> Path:
    """Return the folder of the host's lock files: the same for every checkout, and for every user who may write there.

    Where /run/lock is root's alone, root and the others look in two folders: runtime.lock_folder names one for all.
    """
    shared = Path("/run/lock")
    return shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


@contextmanager
def device_claimed(
    device: str,
    what: str,
    *,
    wait_seconds: float,
    log: Callable[[str], None],
    folder: Path | None = None,
    look_seconds: float = LOOK_SECONDS,
) -> Iterator[Claim]:
    """Hold ``device`` of this host while the block runs, and while a process lives that inherited the claim's handle.

    ``what`` tells people what it is held for. Someone else holding it is named to ``log``, at once and every five
    minutes. Raises TemporaryError that names the holder when it is not free within ``wait_seconds``, StoreError when
    the lock file in ``folder`` (None: ``lock_folder()``) cannot be used.
    """
    path = (folder or lock_folder()) / f"podsquad-{re.sub('[^A-Za-z0-9._-]', '_', device)}.lock"
    try:
        handle = _acquire(path, device, wait_seconds, log, look_seconds)
    except OSError as error:
        raise from_os_error(error, f"claiming the device {device}") from error
    try:
        claim = Claim(handle, what)
        claim.tell(os.getpid())
        yield claim
    finally:
        os.close(handle)


def holder_of(path: Path) -> Holder | None:
    """Return who held a lock file last, as far as it tells."""
    try:
        with path.open("rb") as file:
            return Holder(**parse_json(file.read(_LONGEST_RECORD_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


def _acquire(path: Path, device: str, wait_seconds: float, log: Callable[[str], None], look_seconds: float) -> int:
    started = said = time.monotonic()
    told: str | None = None
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(handle, path):
                return handle
            os.close(handle)  # somebody removed the file meanwhile: a lock on it excludes nobody
            continue
        except BlockingIOError:
            os.close(handle)
        except BaseException:
            os.close(handle)
            raise
        holder = str(holder_of(path) or "a process that has not told its name yet")
        now = time.monotonic()
        left = started + wait_seconds - now
        if left <= 0:
            raise TemporaryError(
                f"the device {device} is still used by {holder} after {wait_seconds:g} seconds",
                why="a device trains one model at a time",
                do="wait for it or stop it, and run the same again; runtime.exclusive_wait_seconds sets the wait",
            )
        if holder != told or now - said >= _SAY_AGAIN_SECONDS:
            log(f"the device {device} is used by {holder}; waiting for it, at most {left:.0f} s")
            told, said = holder, now
        time.sleep(min(look_seconds, left))


def _open(path: Path) -> int:
    # Without O_CREAT first: in a folder with the sticky bit the kernel may refuse O_CREAT on another user's file.
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
        return _open(path)
    os.fchmod(handle, 0o666)  # whatever the umask: other users take turns with the same file
    return handle


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
