"""What the benchmarks start: ended with all that it started, and its processor time with that of its children."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.jobs import _family_seconds
from benchmarks.limited import run_limited

HANGS = """
import os, subprocess, sys, time
print("so far", file=sys.stderr)
away = bool(sys.argv[2:])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=away)
with open(sys.argv[1], "w") as file:
    file.write(str(child.pid))
time.sleep(600)
"""
WORKS = """
import subprocess, sys, time
while time.process_time() < 0.4:
    pass
if len(sys.argv) > 1:
    for ends in (True, False):
        child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        if ends:
            child.communicate()
print("worked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells")
@pytest.mark.parametrize("where", [[], ["away"]], ids=["in its group", "in a session of its own"])
def test_what_hangs_is_ended_with_what_it_started(tmp_path: Path, where: list[str]) -> None:
    file, errors = tmp_path / "pid", tmp_path / "stderr"
    assert run_limited([sys.executable, "-c", HANGS, str(file), *where], 10.0, errors) is None
    assert errors.read_text() == "so far\n"
    try:
        process = os.pidfd_open(int(file.read_text()))
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 60)[0], "what it started lives on"
    finally:
        os.close(process)


def test_what_ends_by_itself_tells_its_exit_code(tmp_path: Path) -> None:
    assert run_limited([sys.executable, "-c", "raise SystemExit(3)"], 60.0) == 3


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells")
def test_a_family_s_time_is_that_of_all_its_processes() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKS, WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as family:
        assert family.stdout is not None
        assert family.stdout.readline() == b"worked\n"
        seconds = _family_seconds(family.pid)
        assert _family_seconds(os.getpid()) > seconds
        family.communicate()
    assert seconds > 3 * 0.4 - 0.1  # its own, of a child that has ended and of one that has not; counted in ticks
