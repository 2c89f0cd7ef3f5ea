"""``podsquad run`` as a program: its output, its exit codes, and what a signal leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podsquad.command.run import prepare_prefect, program, stop_explained
from podsquad.config.section import STAGE_NAMES
from podsquad.errors import StoppedError, StoreError
from podsquad.processes import ProcessRecord, write_record
from tests.flows.night import CHILD_VARIABLE
from tests.runtimes.programs import OBEDIENT, RAW, make_interpreter

HOME = Path(__file__).resolve().parents[2]


class Command:
    """Starts ``podsquad`` with stand-ins for the builders, in a folder of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": str(HOME)}

    def start(self, *arguments: str, child: Path | None = None) -> subprocess.Popen[str]:
        environ = self.environ | ({CHILD_VARIABLE: str(child)} if child else {})
        return subprocess.Popen(
            [sys.executable, "-m", "tests.flows.night", *arguments],
            cwd=self.folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, child: Path | None = None) -> tuple[int, str, str]:
        """Return the exit code, standard output and standard error."""
        process = self.start(*arguments, child=child)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def made(self, stage: str) -> list[str]:
        """Everything that a stage has in the store but its locks and work folders: artifacts and half-made ones."""
        home = self.folder / "store" / stage
        return [str(path.relative_to(home)) for path in [*home.glob("[!.]*"), *home.glob(".staging/*")]]


@pytest.fixture
def command(tmp_path: Path, prefect_server: str) -> Command:
    return Command(tmp_path, prefect_server)


@pytest.mark.parametrize(
    ("number", "exit_code", "message"),
    [
        (signal.SIGTERM, 75, "error: stopped by SIGTERM"),
        (signal.SIGINT, 130, "stopped; what was done is kept"),
    ],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_lets_the_child_save_and_the_next_run_goes_on(
    command: Command, number: signal.Signals, exit_code: int, message: str
) -> None:
    process = command.start("run", child=make_interpreter(command.folder, OBEDIENT))
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert any("ready" in line for line in process.stderr)
        process.send_signal(number)
        err, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == exit_code
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    (saved,) = (command.folder / "store/train/.work").glob("*/saved")
    assert saved.read_text() == "SIGTERM received"
    assert command.made("train") == []

    code, out, err = command.run("run", "--json")
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)  # one object and nothing else
    assert [stage["stage"] for stage in report["stages"]] == list(STAGE_NAMES)
    assert [stage["state"] for stage in report["stages"]] == ["reused"] * 3 + ["ran"] * 3
    assert (report["exact_match"], report["f1"]) == (75.0, 87.5)
    assert Path(report["publication"]).is_dir()
    assert "train is done" in err


@pytest.fixture
def hangup() -> Iterator[Callable[[Any], object]]:
    """Set what SIGHUP does; whoever runs the tests may have it ignored (nohup)."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_what_a_stop_ends_comes_to_its_end_though_it_is_asked_for_again(hangup: Callable[[Any], object]) -> None:
    hangup(signal.SIG_DFL)
    handler = signal.getsignal(signal.SIGTERM)
    ended: list[str] = []
    with pytest.raises(StoppedError, match=r"^stopped by SIGHUP\n") as caught:  # noqa: PT012
        with stop_explained(signal.SIGTERM, signal.SIGHUP, do="run it again"):
            try:
                os.kill(os.getpid(), signal.SIGHUP)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                ended.append("whole")
    assert ended == ["whole"]
    assert caught.value.do == "run it again"
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_signal_that_was_ignored_before_stays_ignored(hangup: Callable[[Any], object]) -> None:
    hangup(signal.SIG_IGN)
    with stop_explained(signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_failing_stage_ends_with_its_exit_code_and_a_short_message(command: Command) -> None:
    failure = "say(event='failure', error='DataError', what='no ü', why='because', do='repair')\nsys.exit(65)"
    code, out, err = command.run("run", "--json", child=make_interpreter(command.folder, RAW + failure))
    assert code == 65
    assert err.splitlines()[-3:] == ["error: no ü", "  why: because", "  do:  repair"]
    assert "Traceback" not in err
    error = {"kind": "DataError", "what": "no ü", "why": "because", "do": "repair"}
    assert json.loads(out) == {"error": error, "exit_code": 65}
    assert command.made("train") == []


def test_a_run_without_publishing_says_so(command: Command) -> None:
    code, out, err = command.run("run", "--no-publish", "--note", "only a try")
    assert code == 0, err
    assert "published   nothing: the run was to end after evaluate" in out
    assert "note: only a try" in err
    assert command.made("publish") == []
    code, out, err = command.run("run", "--no-publish", "--json")
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    assert [stage["stage"] for stage in report["stages"]] == list(STAGE_NAMES[:-1])
    assert (report["is_published"], report["publication"], report["pointer"]) == (False, None, None)
    assert Path(report["model"]).is_dir()


def test_a_server_that_is_not_there_is_worth_another_try(command: Command) -> None:
    command.environ["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    code, _, err = command.run("run")
    assert code == 75
    assert "error: Prefect's server cannot be reached: Failed to reach API at http://127.0.0.1:1/api/" in err


def test_prefect_gets_a_home_of_its_own_unless_the_caller_has_one(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    prepare_prefect(environ, tmp_path / "home")
    assert environ["PREFECT_HOME"] == str(tmp_path / "home")
    assert environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert (tmp_path / "home").is_dir()
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        given = {name: "theirs", "PREFECT_SERVER_ANALYTICS_ENABLED": "true"}
        prepare_prefect(given, tmp_path / "other")
        assert given[name] == "theirs"
        assert given["PREFECT_SERVER_ANALYTICS_ENABLED"] == "true"
        assert ("PREFECT_HOME" in given) == (name == "PREFECT_HOME")
    assert not (tmp_path / "other").exists()


def test_a_home_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="making Prefect's home"):
        prepare_prefect({}, tmp_path / "file" / "home")


def test_the_command_to_ask_can_be_typed_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / ".venv/bin/podsquad"
    there.parent.mkdir(parents=True)
    there.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program(str(there)) == ".venv/bin/podsquad"
    assert program("/opt/a b/podsquad") == "'/opt/a b/podsquad'"
    assert program("/opt/podsquad/__main__.py") == f"{sys.executable} -m podsquad"
    monkeypatch.setenv("PATH", str(there.parent))
    assert program(str(there)) == "podsquad"


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_server_of_make_up_is_used_while_it_runs(tmp_path: Path, is_alive: bool) -> None:
    record = ProcessRecord.of(os.getpid())
    write_record(
        tmp_path / "server.json", record if is_alive else replace(record, born="before"), api_url="http://x/api"
    )
    environ: dict[str, str] = {}
    prepare_prefect(environ, tmp_path / "prefect")
    assert environ.get("PREFECT_API_URL") == ("http://x/api" if is_alive else None)
    theirs = {"PREFECT_API_URL": "http://theirs/api"}
    prepare_prefect(theirs, tmp_path / "prefect")
    assert theirs["PREFECT_API_URL"] == "http://theirs/api"
