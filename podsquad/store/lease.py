"""One writer per key: a lease with a token that grows, on the store's own file system.

    <folder>/<name>.<token>     a token file; whoever made the one of the highest token is the writer

A token file appears by one link, locked (flock) by its maker. The lock is inherited by the processes that work for
the maker, and the kernel drops it when all of them are gone, however they went: then the next writer comes at once.
A maker that lives renews its file's time. One that stands still (a stopped process, a frozen machine), or whose host
died on a network file system, does not: after ``expire_seconds`` without a change, counted by the waiter's own clock,
the next writer takes the lease over by making the next token. No two clocks are compared, so a clock that jumps does
no harm.

The token is the fence. A writer builds in folders that carry its token, and its successor moves or removes them
before it begins: what the former one still writes, should it wake, finds no folder and fails (store/artifacts.py).
Tokens begin again at 1 where the store, or these files, are removed under a writer that lives. So the folders carry a
part that no other writer's have, too, and a lease is held only while the file at its name tells that part.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from podsquad.store.durable import TEMPORARY_PREFIX, flush_folder, parse_object

EXPIRE_SECONDS = 60.0
LOOK_SECONDS = 0.2  # how often a waiter looks again
_RENEWALS_PER_EXPIRY = 6
# File systems without flock answer so: there only the renewals tell who lives.
_NO_FLOCK = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)
_GONE = (errno.ENOENT, errno.ESTALE)  # ESTALE: another host removed an open file of a network file system


class Lease:
    """The right to build what ``name`` stands for. ``handle`` is to be inherited by whoever works for this process."""

    def __init__(self, path: Path, token: int, handle: int, suffix: str) -> None:
        self.token = token
        self.handle = handle
        self.suffix = suffix
        """What the names of the folders that are built under it end in; its file tells it."""
        self._path = path

    def is_held(self) -> bool:
        """Tell whether nobody has taken it over, or has removed it."""
        folder, name = self._path.parent, self._path.name.rpartition(".")[0]
        try:
            # By what the file tells: its number may change with its name, on mounts that do not know hard links.
            return _newest(folder, name) == self.token and _told(self._path).get("suffix") == self.suffix
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False

    def renew(self) -> None:
        """Show that this writer lives. By the handle: another's file may stand at its name by now."""
        os.utime(self.handle)

    def release(self) -> None:
        """End it. Its file's time, which becomes 0, says so where no lock does."""
        with contextlib.suppress(OSError):  # a store that is away: who comes next waits
            os.utime(self.handle, (0, 0))
        os.close(self.handle)


@contextmanager
def leased(
    folder: Path,
    name: str,
    *,
    log: Callable[[str], None],
    expire_seconds: float = EXPIRE_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> Iterator[Lease]:
    """Hold the lease of ``name`` while the block runs; wait for it while another writer has it.

    The wait has no end of its own: the other either ends, renews, or is taken over. Raises OSError as the system does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lease = _acquire(folder, name, log, expire_seconds, look_seconds)
    has_ended = threading.Event()

    def keep() -> None:
        while not has_ended.wait(expire_seconds / _RENEWALS_PER_EXPIRY):
            with contextlib.suppress(OSError):  # a store that is away for a moment; the next renewal will do
                lease.renew()

    renewal = threading.Thread(target=keep, name=f"lease of {name}", daemon=True)
    renewal.start()
    try:
        yield lease
    finally:
        has_ended.set()
        renewal.join()
        lease.release()


@contextmanager
def leased_if_free(folder: Path, name: str) -> Iterator[Lease | None]:
    """Hold the lease of ``name`` while the block runs, or yield None where somebody has it or a faster one takes it.

    It is not renewed: for what takes a moment. Raises OSError as the system does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = _newest(folder, name)
    lease = None if token and _state(folder / f"{name}.{token}") else _make(folder, name, token + 1)
    try:
        if lease and token:
            (folder / f"{name}.{token}").unlink(missing_ok=True)
        yield lease
    finally:
        if lease:
            lease.release()


def _acquire(folder: Path, name: str, log: Callable[[str], None], expire_seconds: float, look_seconds: float) -> Lease:
    seen: tuple[int, int] | None = None  # token and time of its file
    since = time.monotonic()
    has_told = False
    while True:
        token = _newest(folder, name)
        if token and (state := _state(folder / f"{name}.{token}")):
            now = time.monotonic()
            if (token, state) != seen:
                seen, since = (token, state), now
            if now - since < expire_seconds:
                if not has_told:
                    log(f"another run is building {name}; waiting for it ({_maker(folder / f'{name}.{token}')})")
                    has_told = True
                time.sleep(look_seconds)
                continue
            log(f"the run that was building {name} gave no sign of life for {expire_seconds:g} seconds: taken over")
        if lease := _make(folder, name, token + 1):
            for former in range(token, 0, -1):
                try:
                    (folder / f"{name}.{former}").unlink()
                except FileNotFoundError:
                    break
            for leftover in folder.glob(f"{TEMPORARY_PREFIX}{name}-*"):  # of a killed one; one that lives looks again
                leftover.unlink(missing_ok=True)
            return lease


def _newest(folder: Path, name: str) -> int:
    """Return the highest token that was given out, 0 for none."""
    pattern = re.compile(re.escape(name) + r"\.(\d+)")
    found = [pattern.fullmatch(entry) for entry in os.listdir(folder)] if folder.is_dir() else []
    return max((int(match.group(1)) for match in found if match), default=0)


def _state(path: Path) -> int:
    """Return the time of a token's last renewal, in ns, while its maker or who works for it lives; 0 if none does.

    Without locks it counts as alive until it is released.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return 0
    except BlockingIOError:
        return os.fstat(handle).st_mtime_ns or 1  # released, but who works for it has not ended
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)


def _make(folder: Path, name: str, token: int) -> Lease | None:
    """Make the token file, locked; None when another writer was faster."""
    path, aside = folder / f"{name}.{token}", folder / f"{TEMPORARY_PREFIX}{name}-{uuid.uuid4().hex}"
    suffix = f"{token}-{uuid.uuid4().hex[:8]}"
    handle = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        told = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "suffix": suffix}
        os.write(handle, json.dumps(told).encode())
        os.link(aside, path)
        flush_folder(folder)
    except (FileExistsError, FileNotFoundError):  # or even so fast that it has cleared away what lay aside
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    finally:
        aside.unlink(missing_ok=True)
    return Lease(path, token, handle, suffix)


def _maker(path: Path) -> str:
    try:
        told = _told(path)
        return f"process {told['pid']} on {told['host']}, since {told['since']}"
    except (OSError, KeyError):
        return "which one, its lease does not tell"


def _told(path: Path) -> dict[str, Any]:
    """Return what a token file tells, {} for one that was written by something else."""
    try:
        return parse_object(path.read_bytes())
    except ValueError:
        return {}
