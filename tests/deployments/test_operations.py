"""The runbook: every command on it, in its order, in a clone of its own."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.runner._process_manager import ProcessManager

from deployments.automations import SILENT_SECONDS, TOO_LONG_HOURS
from deployments.worker import GRACE_SECONDS
from podsquad.config.settings import RetrySettings
from podsquad.config.training_settings import RuntimeSettings
from podsquad.hub_waits import LONGEST_WAIT_SECONDS
from podsquad.processes import read_record
from podsquad.runtimes.launch import STOP_GRACE_SECONDS
from tasks import progress
from tests.deployments.place import (
    HOME,
    NOBODY_WITHIN_SECONDS,
    PATIENCE_SECONDS,
    TOLD_WITHIN_SECONDS,
    Place,
    running,
    wait_until,
)
from tests.deployments.receiver import BLOCK, make_block
from tests.docker.compose import MAIN, seconds

PAGE = (HOME / "docs/operations.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
# What the page names in passing and does not tell to type there, and whose test gives its verb and options.
ELSEWHERE = {
    "prefect deploy --all": (
        "tests/deployments/test_up.py::test_prefect_s_own_command_registers_the_same_and_asks_nothing"
    ),
    "podsquad plan": "tests/test_cli.py::test_a_plan_whose_check_fails_shows_it_and_ends_with_its_code",
    "podsquad drill": "tests/drill/test_drills.py::test_the_verdicts_are_told_and_decide_the_exit_code",
    "podsquad gc --days 0": "tests/command/test_gc.py::test_what_a_refresh_left_goes_so_that_the_next_begins_anew",
    "podsquad verify": "tests/command/test_verify.py::test_a_private_repository_is_verified_over_http",
    "podsquad run --canary": "tests/command/test_canary.py::test_the_command_reproduces_what_a_run_made",
    **dict.fromkeys(
        (
            "podsquad runs",
            "podsquad rollback",
            'podsquad rollback --reason "it answers in French"',
        ),
        "tests/test_end_to_end_hub.py::test_a_week_of_nights",
    ),
    **dict.fromkeys(
        ("podsquad rollback --to TAG --reason TEXT", 'podsquad rollback --to v-0123456789ab --reason "..."'),
        "tests/command/test_publications.py::test_to_a_version_by_its_tag_and_again",
    ),
}
# The like is done another way, with this word: make's variable is an option of deployments.up, the worker is stopped by
# its name, and what the page says of Prefect's own worker is what a shorter grace does to ours.
OTHERWISE = {
    "make up PORT=4201": ("tests/deployments/place.py::up", "--port"),
    "kill NUMBER": (
        "tests/browser/test_night.py"
        "::test_a_run_whose_worker_was_killed_in_its_training_goes_on_with_retry_to_the_published_model",
        "worker",
    ),
    "prefect worker start": (
        "tests/deployments/test_worker.py::test_a_run_killed_while_it_saves_goes_on",
        "--grace-seconds",
    ),
}
# Every time that the page states, in its words, and what holds it: the setting itself, or what tests of this folder
# allow by the stamps of the server.
TIMES = {
    "at most 90 seconds": GRACE_SECONDS,
    "flow's process 90 seconds": GRACE_SECONDS,
    "It has 60 seconds": STOP_GRACE_SECONDS,
    "kills after 30 seconds": signature(ProcessManager.kill).parameters["grace_seconds"].default,
    "`runtime.exclusive_wait_seconds` (four hours)": RuntimeSettings.model_fields["exclusive_wait_seconds"].default,
    "`retry.stage_timeout_seconds` (six hours)": RetrySettings.model_fields["stage_timeout_seconds"].default,
    "within half a minute": TOLD_WITHIN_SECONDS,
    "for up to half a minute": TOLD_WITHIN_SECONDS,
    "two and a half minutes have passed": SILENT_SECONDS + TOLD_WITHIN_SECONDS,
    "within two and a half minutes": SILENT_SECONDS + TOLD_WITHIN_SECONDS,
    "shown within a minute": NOBODY_WITHIN_SECONDS,
    "more than eight hours": TOO_LONG_HOURS * 3600,
    "every ten seconds": progress._INTERVAL_SECONDS,
    "up to five minutes are waited": LONGEST_WAIT_SECONDS,
    "at most two minutes": seconds(
        yaml.safe_load(MAIN.read_text(encoding="utf-8"))["services"]["worker"]["stop_grace_period"]
    ),
}
NUMBERS = {
    "a": 1,
    "half a": 0.5,
    "two": 2,
    "two and a half": 2.5,
    "four": 4,
    "five": 5,
    "six": 6,
    "eight": 8,
    "ten": 10,
}
UNITS = {"second": 1, "minute": 60, "hour": 3600}
# The demo at a size that is done in seconds.
SMALL = {
    "PODSQUAD_DATA__DEMO_TRAIN_QUESTIONS": "20",
    "PODSQUAD_DATA__DEMO_VALIDATION_QUESTIONS": "10",
    "PODSQUAD_TRAINING__EPOCHS": "1",
    "OMP_NUM_THREADS": "1",
}


class Runbook:
    """A clone, and what a person who follows the page has in their shell."""

    def __init__(self, folder: Path) -> None:
        origin = folder / "origin"
        origin.mkdir()
        self.place = Place(origin)
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts"):
            source = HOME / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, origin / name)
        (origin / ".gitignore").write_text(".venv/\n.podsquad/\n*.tar.gz\n__pycache__/\n")
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "all")):
            subprocess.run(["git", *arguments], cwd=origin, check=True)
        clone = folder / "clone"
        subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True)
        self.place.folder = clone
        self._pretend_to_be_set_up(clone / ".venv")
        environ = {name: value for name, value in self.place.environ.items() if name != "PYTHONPATH"}
        self.environ = environ | SMALL | {"PORT": str(self.place.port)}

    @staticmethod
    def _pretend_to_be_set_up(folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        for name, start in {"python": "", "podsquad": "-m podsquad", "prefect": "-m prefect"}.items():
            (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n')
            (folder / "bin" / name).chmod(0o755)
        (folder / "demo.stamp").touch()

    def follow(self, line: str) -> str:
        """Do what a line of the page says and return what it tells; what it exports stays."""
        line = line.replace(":4200", f":{self.place.port}")
        if exported := re.fullmatch(r"export (\w+)=(.*)", line):
            value = exported[2].replace("$PWD", str(self.place.folder)).replace("$PATH", os.environ["PATH"])
            self.environ[exported[1]] = value
            return ""
        if line == "make worker":
            return self._work_for_a_while()
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.place.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def _work_for_a_while(self) -> str:
        """Have a worker in the foreground, in the place of the one that runs, until it works."""
        self.place.stop("worker")
        with running(["make", "worker"], cwd=self.place.folder, env=self.environ, stderr=subprocess.PIPE) as worker:
            record = self.place.folder / ".podsquad/worker.json"
            wait_until("it works", lambda: (found := read_record(record)) and found[1]["is_working"])
            self.place.stop("worker")
            said = worker.communicate(timeout=PATIENCE_SECONDS)[1]
        self.follow("make up")
        return said


@pytest.fixture
def runbook(tmp_path: Path) -> Iterator[Runbook]:
    made = Runbook(tmp_path)
    with closing(made.place):
        yield made


def schedule(place: Place) -> dict[str, Any]:
    (found,) = place.deployments()["nightly"]["schedules"]
    return dict(found)


def prepare(runbook: Runbook, line: str, demo: str) -> str:
    """Bring about what a line is meant for; return the id of the demo's run once there is one."""
    place = runbook.place
    if line.startswith("prefect deployment schedule"):
        runbook.environ["SCHEDULE"] = schedule(place)["id"]
    if line.startswith("prefect flow-run retry"):
        (run,) = place.call("POST", "/flow_runs/filter", {"deployments": {"name": {"any_": ["demo"]}}})
        demo = run["id"]
        assert place.wait_for_state(demo)["type"] == "COMPLETED"
        state = {"type": "CRASHED", "message": "its process was killed"}
        place.call("POST", f"/flow_runs/{demo}/set_state", {"state": state, "force": True})
    if line.startswith("prefect flow-run cancel"):
        assert place.wait_for_state(demo)["type"] == "COMPLETED"  # after the Retry
        target = place.deployments()["on-demand"]["id"]
        later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
        run = place.call("POST", f"/deployments/{target}/create_flow_run", {"state": later})
        runbook.environ["RUN"] = run["id"]
    elif "$RUN" in line:
        runbook.environ["RUN"] = demo
    if line.endswith(f"WEBHOOK={BLOCK}"):
        make_block(place, "http://x")
    return demo


def test_what_is_named_in_passing_is_run_too() -> None:
    """The containers' commands: tests/docker/test_containers.py."""
    text = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`((?:make|prefect|podsquad|pip|kill) [^`]+)`", text))
    run = {re.sub(r"^podsquad run .*", "podsquad run", line) for line in LINES}
    assert named - run == ELSEWHERE.keys() | OTHERWISE.keys()
    for command, where in ELSEWHERE.items():
        words = [word for word in shlex.split(command)[1:] if re.fullmatch(r"(--)?[a-z]+", word)]
        assert words
        assert words_left_out(where, words) == [], command
    for where, option in OTHERWISE.values():
        assert words_left_out(where, [option]) == []


def words_left_out(where: str, words: list[str]) -> list[str]:
    """The words that the function ``file::name`` gives to no program."""
    file, _, name = where.partition("::")
    tree = ast.walk(ast.parse((HOME / file).read_text(encoding="utf-8")))
    (function,) = (each for each in tree if isinstance(each, ast.FunctionDef) and each.name == name)
    given = {each.value for each in ast.walk(function) if isinstance(each, ast.Constant)}
    return [word for word in words if word not in given]


def test_every_time_on_the_page_is_a_setting_s_or_held_by_a_test() -> None:
    left = " ".join(PAGE.split())
    for words, value in TIMES.items():
        assert words in left
        left = left.replace(words, "")
        found = re.search(r"([a-z]+ and a half|half a|[a-z]+|\d+) (second|minute|hour)", words)
        assert found
        assert (NUMBERS.get(found[1]) or float(found[1])) * UNITS[found[2]] == value, words
    assert re.findall(r"\S+ (?:seconds|minutes?|hours?)\b", left) == ["... seconds"]  # the Hub's own words


@pytest.mark.prefect_live
@pytest.mark.timeout(2400)
def test_every_command_of_the_runbook(runbook: Runbook) -> None:
    place, demo, before = runbook.place, "", ""
    said: dict[str, str] = {}
    for line in LINES:
        demo = prepare(runbook, line, demo)
        said[line] = runbook.follow(line)
        if line.startswith("tar -czf"):
            before = runbook.follow("podsquad runs")
        if line.startswith("tar -xzf"):
            assert runbook.follow("podsquad runs") == before
        if line.startswith("prefect deployment schedule resume"):
            assert schedule(place)["active"]
        if line.startswith("prefect flow-run cancel"):
            assert place.wait_for_state(runbook.environ["RUN"])["type"] == "CANCELLED"
    assert place.url in said["make up"]
    assert not schedule(place)["active"]
    assert "registered retrain/nightly" in said["make deploy"]
    assert "podsquad: rejected" in said["make automations WEBHOOK=night-watch"]
    assert "worker" in said["make down"]
    assert "SIGTERM: no more runs are taken; 0 go on" in said["make worker"]
    assert "exact match" in said["podsquad run --profile demo"]
    # One of the two found what the other had made, or waited for it.
    either = said["podsquad run --profile demo"] + said['prefect flow-run logs "$RUN"']
    assert re.search("download reuses|download is reused", either)
    assert "demo" in before
    assert place.state(demo)["type"] == "COMPLETED"
