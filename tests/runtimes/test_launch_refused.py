"""A runtime that cannot be started: whose fault it is, by what the system refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import SettingsError, TemporaryError
from podsquad.runtimes.launch import run_job
from tests.runtimes.bench import Bench

HOME = Path(__file__).resolve().parents[2]


def test_an_interpreter_that_is_not_there_is_a_settings_error(bench: Bench) -> None:
    with pytest.raises(SettingsError, match=r"cannot start the runtime torch with /nowhere/python: No such file"):
        run_job(bench.job(), "torch", python=Path("/nowhere/python"), on_event=bench.events.append)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE], ids=errno.errorcode.get)
def test_a_host_without_room_for_a_process_is_a_passing_error(
    number: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(TemporaryError, match="the host has no room while starting the runtime torch with"):
        run_job(bench.job(), "torch", on_event=bench.events.append)


def test_a_host_without_room_for_another_open_file_is_a_passing_error(bench: Bench) -> None:
    """The genuine refusal, in a process of its own: it is the pipes of the child that find no room."""
    source = f"""
import os, resource
from podsquad.errors import TemporaryError
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
next_one = os.dup(0)
os.close(next_one)
resource.setrlimit(resource.RLIMIT_NOFILE, (next_one + 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    run_job(Job(**{vars(bench.job())!r}), "torch", on_event=print)
except TemporaryError as error:
    print(error.what)
"""
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    made = subprocess.run([sys.executable, "-c", source], env=environ, capture_output=True, text=True, check=True)
    assert made.stdout.endswith(": Too many open files\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
def test_a_work_folder_that_cannot_be_written_is_not_taken_for_a_wrong_interpreter(
    number: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(link: Path, target: Path, target_is_directory: bool = False) -> None:
        raise OSError(number, os.strerror(number), str(link))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match=str(bench.work)) as caught:
        run_job(bench.job(), "torch", on_event=bench.events.append)
    assert caught.value.errno == number
