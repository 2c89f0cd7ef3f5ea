"""The store: of two processes with one key one builds and the other waits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.shelf import KEY, ingredients

CHILD = """
import json, sys
from pathlib import Path
from podsquad.store.artifacts import Store

def build(output, work):
    print("builds with", sorted(path.name for path in work.iterdir()), flush=True)
    (work / "checkpoint").write_text("")
    sys.stdin.readline()
    (output / "file").write_text("content")

artifact, was_there = Store(Path(sys.argv[1])).ensure(
    json.loads(sys.argv[2]), build, log=lambda line: print(line, flush=True)
)
print("was there" if was_there else "built", artifact.digest, flush=True)
"""


class Child:
    """A process that wants the artifact; it builds until it is let go."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-c", CHILD, str(root), json.dumps(ingredients())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def finish(self) -> str:
        return self.process.communicate("\n", timeout=60)[0].rstrip("\n")


@pytest.mark.parametrize("is_killed", [False, True], ids=["finishes", "is-killed"])
def test_of_two_processes_with_one_key_one_builds_and_the_other_waits(is_killed: bool, tmp_path: Path) -> None:
    first, second = Child(tmp_path), None
    try:
        assert first.line() == "builds with []"
        second = Child(tmp_path)
        assert second.line() == f"another run is building {KEY}; waiting for it"
        if is_killed:
            first.process.send_signal(signal.SIGKILL)
            first.process.communicate(timeout=60)
            # Nobody has to clean up: the lock is gone with its process, and what that one saved is used.
            assert second.line() == "builds with ['checkpoint']"
            assert second.finish().startswith("built ")
        else:
            built = first.finish()
            assert built.startswith("built ")
            assert second.finish() == built.replace("built", "was there")
    finally:
        for child in (first, second):
            if child:
                child.process.kill()
                child.process.communicate()
