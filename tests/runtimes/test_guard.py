"""The lock on a device, between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podsquad.errors import StoreError, TemporaryError
from podsquad.runtimes.guard import Claim, device_claimed, holder_of, lock_folder
from tests.runtimes.programs import RAW, make_interpreter

HOME = Path(__file__).resolve().parents[2]

# Holds the device until its standard input ends.
HOLD = """
import sys
from pathlib import Path
from podsquad.runtimes.guard import device_claimed
with device_claimed("cuda", "train of theirs", wait_seconds=0, log=print, folder=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

# Runs a runtime that says its process id and then hears nothing.
PARENT = """
import os, sys
from pathlib import Path
from podsquad.runtimes.guard import device_claimed
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
folder, python = Path(sys.argv[1]), Path(sys.argv[2])
job = Job("train", {}, str(folder), str(folder))
with device_claimed("cuda", "train of theirs", wait_seconds=0, log=print, folder=folder) as claim:
    run_job(job, "torch", python=python, inherited=(claim.handle,), on_start=claim.tell,
            on_event=lambda event: print(event["message"], flush=True))
"""
DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(event="log", message=str(os.getpid()))
while True: signal.pause()
"""


def start(source: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(HOME)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with start(HOLD, tmp_path) as process:
        assert first_line(process) == "held"
        yield process
        process.kill()


def claim(
    folder: Path, log: Callable[[str], object] = print, wait_seconds: float = 60.0, device: str = "cuda"
) -> Claim:
    with device_claimed(device, "train", wait_seconds=wait_seconds, log=log, folder=folder, look_seconds=0.01) as held:
        return held


def test_a_device_in_use_is_refused_by_name(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(TemporaryError) as caught:
        claim(tmp_path, wait_seconds=0.0)
    assert f"the device cuda is still used by process {holder.pid} on " in caught.value.what
    assert "(train of theirs, since 20" in caught.value.what
    assert "exclusive_wait_seconds" in caught.value.do
    claim(tmp_path, wait_seconds=0.0, device="ipu")  # another device


@pytest.mark.parametrize("end", ["released", "killed"])
def test_the_one_that_waits_says_for_whom_and_then_gets_it(
    holder: subprocess.Popen[str], tmp_path: Path, end: str
) -> None:
    told: list[str] = []

    def log(line: str) -> None:
        told.append(line)
        assert holder.stdin is not None
        if end == "killed":
            holder.kill()
        else:
            holder.stdin.close()

    claim(tmp_path, log)
    (line,) = told
    assert f"used by process {holder.pid} on" in line
    assert "waiting for it, at most 60 s" in line


def test_a_wait_can_be_interrupted(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        claim(tmp_path, interrupt)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_lock_tells_the_runtime_and_outlives_a_killed_parent(tmp_path: Path) -> None:
    python = make_interpreter(tmp_path, RAW + DEAF)
    with start(PARENT, tmp_path, python) as parent:
        child = int(first_line(parent))
        parent.kill()
    assert parent.returncode == -signal.SIGKILL
    told = holder_of(tmp_path / "podsquad-cuda.lock")
    assert told is not None
    assert (told.pid, told.what) == (child, "train of theirs")
    with pytest.raises(TemporaryError, match=f"used by process {child} "):
        claim(tmp_path, wait_seconds=0.0)
    claim(tmp_path, lambda line: os.kill(child, signal.SIGKILL))


def test_a_lock_file_that_was_removed_excludes_nobody_and_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "podsquad-cuda.lock"
    with device_claimed("cuda", "first", wait_seconds=0.0, log=print, folder=tmp_path):
        path.unlink()
        with device_claimed("cuda", "second", wait_seconds=0.0, log=print, folder=tmp_path):
            with pytest.raises(TemporaryError, match="second"):
                claim(tmp_path, wait_seconds=0.0)


def test_other_users_may_take_turns_with_the_same_file(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        claim(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "podsquad-cuda.lock").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("content", ["{", "[" * 4000], ids=["cut", "nested"])
def test_a_file_that_tells_nothing_still_locks(holder: subprocess.Popen[str], tmp_path: Path, content: str) -> None:
    (tmp_path / "podsquad-cuda.lock").write_text(content)
    assert holder_of(tmp_path / "podsquad-cuda.lock") is None
    with pytest.raises(TemporaryError, match="a process that has not told its name yet"):
        claim(tmp_path, wait_seconds=0.0)


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="claiming the device cuda"):
        claim(tmp_path / "nowhere")
    assert lock_folder().is_dir()


def test_a_device_s_name_stays_in_the_folder(tmp_path: Path) -> None:
    claim(tmp_path, device="ipu/../16")
    assert [path.name for path in tmp_path.iterdir()] == ["podsquad-ipu_.._16.lock"]
