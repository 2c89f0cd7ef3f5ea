"""Prefect's server goes away in mid-run: for a while, or for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.relay import Relay
from tests.faults.telling import CANARY, files_with_token
from tests.flows.night import CHILD_VARIABLE
from tests.runtimes.programs import RAW, make_interpreter

ROOT = Path(__file__).resolve().parents[2]
WAIT = """
say(event='log', message='ready')
open({ready!r}, 'w').close()
while not os.path.exists({go_on!r}): time.sleep(0.05)
"""


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Run:
    """``podsquad run`` with stages that work for nothing, and a training that waits to be told to go on."""

    def __init__(self, folder: Path, address: str, **environ: str) -> None:
        self.folder, self.ready, self.go_on = folder, folder / "ready", folder / "go-on"
        (folder / "program").mkdir(exist_ok=True)
        python = make_interpreter(folder / "program", RAW + WAIT.format(ready=str(self.ready), go_on=str(self.go_on)))
        given = {"PREFECT_API_URL": address, CHILD_VARIABLE: str(python), "HF_TOKEN": CANARY, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.night", "run", "--json"],
            cwd=folder,
            env={**os.environ, **given, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, dict[str, object], str]:
        """Return the exit code, what it told as JSON, and its log; no token is in any of it, or in a file."""
        try:
            out, log = self.process.communicate(timeout=300)
        finally:
            self.process.kill()
            self.process.wait()
        assert CANARY not in out + log
        assert files_with_token(self.folder) == []
        return self.process.returncode, json.loads(out[out.index("{") :]), log


@pytest.mark.timeout(900)
def test_a_server_that_is_away_for_a_while_costs_nothing(tmp_path: Path, prefect_server: str) -> None:
    with Relay(prefect_server) as relay:
        run = Run(tmp_path, relay.address)
        wait_for(run.ready.exists, run.process)
        relay.go_away()
        run.go_on.touch()
        wait_for(lambda: relay.num_refused > 0, run.process)
        relay.come_back()
        code, report, log = run.end()
    assert code == 0, log
    assert [stage["state"] for stage in report["stages"]] == ["ran"] * 6  # type: ignore[attr-defined]
    assert "Traceback" not in log


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("status", "told_as"), [(0, ""), (500, "it answers 500")], ids=["silent", "500"])
def test_a_server_that_stays_away_is_named_and_what_was_made_is_reused(
    tmp_path: Path, prefect_server: str, status: int, told_as: str
) -> None:
    with Relay(prefect_server) as relay:
        run = Run(tmp_path, relay.address, PREFECT_CLIENT_MAX_RETRIES="1")
        wait_for(run.ready.exists, run.process)
        relay.go_away(status=status)
        run.go_on.touch()
        code, told, log = run.end()
    assert code == 75, log
    error = told["error"]
    assert isinstance(error, dict)
    assert error["kind"] == "TemporaryError"
    assert f"Prefect's server cannot be reached: {told_as}" in error["what"]
    assert error["why"]
    assert "run the same again" in error["do"]
    assert "Traceback" not in log
    again = Run(tmp_path, prefect_server)
    code, report, log = again.end()
    assert code == 0, log
    states = {stage["stage"]: stage["state"] for stage in report["stages"]}  # type: ignore[attr-defined]
    assert [states[stage] for stage in ("download", "tokenize", "compile")] == ["reused"] * 3
