"""Knowing a process again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podsquad import processes
from podsquad.processes import ProcessRecord, children_of, read_record, write_record


@pytest.fixture(params=["proc", "ps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "ps":
        monkeypatch.setattr(processes, "_birth", processes._birth_by_ps)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("way")
def test_a_process_is_known_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid)
    assert record.is_alive()
    assert not replace(record, born=record.born + "0").is_alive()  # the number of another one
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet taken note of: a zombie
    assert not record.is_alive()
    sleeper.wait()
    assert not record.is_alive()
    with pytest.raises(ProcessLookupError):
        ProcessRecord.of(sleeper.pid)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    assert read_record(path) is None
    record = ProcessRecord.of(os.getpid())
    write_record(path, record, api_url="http://127.0.0.1:4200/api")
    assert read_record(path) == (record, {"api_url": "http://127.0.0.1:4200/api"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "born": ""}', '{"pid": null, "born": ""}'])
def test_what_is_no_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    assert read_record(tmp_path / "file") is None


def test_the_children_of_a_process_are_found(sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.pid in children_of(os.getpid())
    assert children_of(sleeper.pid) == []
