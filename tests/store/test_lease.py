"""The lease: one writer at a time, taken over from the dead at once and from those that stand still after a while."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from podsquad.store import lease as lease_module
from podsquad.store.lease import Lease, leased, leased_if_free

HOLDER = """
import sys
from pathlib import Path
from podsquad.store.lease import leased

with leased(Path(sys.argv[1]), "key", log=print) as lease:
    print(lease.token, flush=True)
    sys.stdin.readline()
"""


def tokens(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_token_grows_and_only_the_newest_file_stays(tmp_path: Path) -> None:
    given = []
    for _ in range(3):
        with leased(tmp_path, "key", log=print) as lease:
            given.append(lease.token)
            assert lease.is_held()
    assert given == [1, 2, 3]
    assert tokens(tmp_path) == ["key.3"]


def test_two_names_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with leased(tmp_path, "key", log=print) as one, leased(tmp_path, "key.1", log=print) as other:
        assert one.is_held()
        assert other.is_held()


def test_a_thread_of_the_same_process_waits_and_is_told_for_whom(tmp_path: Path) -> None:
    told: list[str] = []
    order: list[str] = []
    has_told = threading.Event()

    def log(line: str) -> None:
        told.append(line)
        has_told.set()

    def second() -> None:
        with leased(tmp_path, "key", log=log, look_seconds=0.01) as lease:
            order.append(f"second has {lease.token}")

    with leased(tmp_path, "key", log=print):
        thread = threading.Thread(target=second)
        thread.start()
        assert has_told.wait(60)
        order.append("first ends")
    thread.join(60)
    assert order == ["first ends", "second has 2"]
    assert len(told) == 1
    assert f"process {os.getpid()} on " in told[0]


def test_what_a_killed_holder_had_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "1\n"
        holder.kill()
        holder.wait(60)
    told: list[str] = []
    with leased(tmp_path, "key", log=told.append, expire_seconds=3600) as lease:
        assert lease.token == 2
    assert told == []


def test_while_a_heir_of_the_handle_lives_the_lease_is_held(tmp_path: Path) -> None:
    with leased(tmp_path, "key", log=print) as lease:
        heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(lease.handle,))
    try:
        has_told = threading.Event()
        got: list[int] = []

        def wait() -> None:
            with leased(tmp_path, "key", log=lambda line: has_told.set(), look_seconds=0.01) as second:
                got.append(second.token)

        thread = threading.Thread(target=wait)
        thread.start()
        assert has_told.wait(60)
        assert got == []
    finally:
        heir.communicate(timeout=60)
    thread.join(60)
    assert got == [2]


def test_who_stands_still_is_taken_over_and_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_RENEWALS_PER_EXPIRY", 1e-6)  # as if it were stopped: it never renews
    told: list[str] = []
    with leased(tmp_path, "key", log=print, expire_seconds=0.05) as first:
        with leased(tmp_path, "key", log=told.append, expire_seconds=0.05, look_seconds=0.01) as second:
            assert (first.token, second.token) == (1, 2)
            assert not first.is_held()
            assert second.is_held()
            first.renew()  # its file is gone: no error, and no right
            assert tokens(tmp_path) == ["key.2"]
    assert [line.split(" gave ")[0] for line in told[1:]] == ["the run that was building key"]


def test_who_renews_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    told: list[str] = []
    with leased(tmp_path, "key", log=print, expire_seconds=3600) as first:
        waits = threading.Thread(target=lambda: _once(tmp_path, told, expire_seconds=2.0))
        waits.start()
        for _ in range(40):  # 4 s: twice what the waiter would give one that stands still
            first.renew()
            waits.join(0.1)
        assert first.is_held()
    waits.join(60)
    assert len(told) == 1
    assert told[0].startswith("another run is building key")


def test_a_clock_that_jumps_back_takes_nothing_from_its_holder(tmp_path: Path) -> None:
    with leased(tmp_path, "key", log=print, expire_seconds=3600) as first:
        waits = threading.Thread(target=lambda: _once(tmp_path, [], expire_seconds=2.0))
        waits.start()
        path = tmp_path / "key.1"
        for jump in range(30):
            os.utime(path, (1e9 - 3600 * jump, 1e9 - 3600 * jump))
            waits.join(0.1)
        assert first.is_held()
    waits.join(60)
    assert tokens(tmp_path) == ["key.2"]


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_flock")
def test_without_flock_the_renewals_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_RENEWALS_PER_EXPIRY", 1e-6)  # as if it were killed: it never renews
    told: list[str] = []
    with leased(tmp_path, "key", log=print):
        with leased_if_free(tmp_path, "key") as none:
            assert none is None
        with leased(tmp_path, "key", log=told.append, expire_seconds=0.05, look_seconds=0.01) as lease:
            assert lease.token == 2
    assert len(told) == 2


@pytest.mark.usefixtures("without_flock")
def test_without_flock_too_what_came_to_its_end_is_free_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        with leased(tmp_path, "key", log=told.append, expire_seconds=3600):
            pass
        with leased_if_free(tmp_path, "key") as lease:
            assert lease
    assert told == []
    assert tokens(tmp_path) == ["key.4"]


def test_a_lease_whose_file_another_host_removed_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")  # as NFS does

    with leased(tmp_path, "key", log=print) as lease, monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        assert not lease.is_held()


def test_a_lease_is_known_by_what_its_file_tells(tmp_path: Path) -> None:
    """Not by the file's number: mounts that do not know hard links as one file give each name another one."""
    with leased(tmp_path, "key", log=print) as lease:
        copy = tmp_path / "copy"
        shutil.copy(tmp_path / "key.1", copy)
        copy.replace(tmp_path / "key.1")
        assert lease.is_held()
        (tmp_path / "key.1").write_bytes(b"[]")
        assert not lease.is_held()


@pytest.mark.usefixtures("without_flock")
def test_a_writer_whose_lease_was_removed_holds_renews_and_ends_nothing_of_the_next(tmp_path: Path) -> None:
    """Tokens begin again with it: both files have one name."""
    folder = tmp_path / "leases"
    with ExitStack() as first_ends, ExitStack() as second_ends:
        first = first_ends.enter_context(leased(folder, "key", log=print))
        shutil.rmtree(folder)
        assert not first.is_held()
        second = second_ends.enter_context(leased(folder, "key", log=print, expire_seconds=3600))
        assert (first.token, second.token) == (1, 1)
        assert first.suffix != second.suffix
        assert not first.is_held()
        assert second.is_held()
        os.utime(folder / "key.1", ns=(5, 5))
        first.renew()
        first_ends.close()
        assert (folder / "key.1").stat().st_mtime_ns == 5
        assert second.is_held()
        with leased_if_free(folder, "key") as none:
            assert none is None


def test_of_many_who_come_at_once_one_at_a_time_has_it(tmp_path: Path) -> None:
    inside: list[Any] = []
    most: list[int] = []

    def work() -> None:
        with leased(tmp_path, "key", log=lambda line: None, look_seconds=0.001) as lease:
            inside.append(lease)
            most.append(len(inside))
            inside.remove(lease)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert most == [1] * 12
    assert tokens(tmp_path) == ["key.12"]


def _once(folder: Path, told: list[str], expire_seconds: float) -> Lease:
    with leased(folder, "key", log=told.append, expire_seconds=expire_seconds, look_seconds=0.01) as lease:
        return lease
