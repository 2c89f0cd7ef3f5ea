"""The drills through the genuine command: all pass, nothing of them stays; each fails when what it guards is broken."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from unittest import mock

import pytest

from podsquad.cli import main
from podsquad.command.drill import run_drills
from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.drill import deployment
from podsquad.drill.deployment import Deployment
from podsquad.drill.scenarios import DRILLS, Drill, Outcome, kill, truncate_checkpoint
from podsquad.errors import SettingsError
from podsquad.processes import ProcessRecord, children_of
from podsquad.stages.libraries import ABSENT
from podsquad.store.removal import remove
from tests.faults.telling import CANARY, files_with_token

ROOT = Path(__file__).resolve().parents[2]
SABOTEUR = Path(__file__).parent / "saboteur"
# The command, as it is where nobody ignores SIGHUP: who runs the tests may (nohup).
HEEDING_HANGUPS = """
import signal
from podsquad.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)
main()
"""


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def a_user_s_store(folder: Path) -> Path:
    """Return a store with somebody's artifact, what was left of it, and Prefect's record."""
    store = folder / "store"
    for name in ("train/" + "ab" * 16 + "/file", "train/.work/" + "cd" * 16 + ".3/step", ".prefect/train-abab-1234"):
        (store / name).parent.mkdir(parents=True)
        (store / name).write_text("a user's")
    return store


def losing(drill: Drill, kept: int) -> Drill:
    """Return a drill that loses all checkpoints but the newest ``kept`` after the harm: what recovers is not there."""

    def sabotaged(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
        def lose() -> None:
            checkpoints = place.checkpoints()
            for checkpoint in checkpoints[: len(checkpoints) - kept]:
                checkpoint.rename(checkpoint.with_name("lost-" + checkpoint.name))

        return drill(place, whole, lose)

    return sabotaged


def broken(name: str) -> Drill:
    """Return a drill in whose runs the code that it guards is broken (saboteur/sitecustomize.py)."""

    def sabotaged(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
        with mock.patch.dict(os.environ, DRILL_SABOTAGE=name):
            return DRILLS[name](place, whole, between)

    return sabotaged


# What each drill says when the thing that it guards is broken.
SABOTAGED = {
    "kill": (losing(kill, 0), r"the training went on from step 0, though step \d+ was saved"),
    "truncate-checkpoint": (losing(truncate_checkpoint, 1), r"the training went on from step 0, though step \d+ was"),
    "full-disk": (broken("full-disk"), "the run ended with 70, not 74"),
    "hub-500": (broken("hub-500"), "the run ended with 75, not 0"),
    "stale-lease": (broken("stale-lease"), "the run ended with 73, not 75"),
}
# Of training that had to be done again, at most: a checkpoint comes every 10 steps.
LOST_STEPS = {"kill": 10, "truncate-checkpoint": 20, "full-disk": 10, "hub-500": 0, "stale-lease": 10}


def without_token(drill: Drill) -> Drill:
    """Return a drill after which the token of the environment is in no log and no file of the store."""

    @wraps(drill)
    def watched(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
        outcome = drill(place, whole, between)
        assert [*place.scratch.rglob("*.log"), *place.store.rglob("*.log")]
        assert files_with_token(place.scratch, place.store) == []
        return outcome

    return watched


@pytest.mark.timeout(1800)
def test_every_drill_passes_a_sabotaged_one_fails_and_nothing_stays(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = a_user_s_store(tmp_path)
    before = listing(store)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv("PYTHONPATH", f"{SABOTEUR}{os.pathsep}{ROOT}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("PODSQUAD_RUNTIME__PYTHON", "/opt/ipu/bin/python")  # as on a POD, for its own runtime
    monkeypatch.chdir(tmp_path)
    names = list(DRILLS)
    assert set(names) == set(SABOTAGED) == set(LOST_STEPS)
    for name in names:
        monkeypatch.setitem(DRILLS, name, without_token(DRILLS[name]))
    for name, (drill, _) in SABOTAGED.items():
        monkeypatch.setitem(DRILLS, f"sabotaged {name}", without_token(drill))
    # The broken ones first: what a good one made they would find made.
    in_turn = [*(f"sabotaged {name}" for name in SABOTAGED), *names]
    settings = load_settings("demo", {"store.path": str(store)}).settings
    assert not run_drills(settings, in_turn, as_json=True)
    captured = capfd.readouterr()
    report = json.loads(captured.out)
    drills = dict(zip(in_turn, report["drills"], strict=True))
    for name in names:
        drill = drills[name]
        assert drill["name"] == name
        assert drill["faults"] == []  # first: it tells what is wrong
        assert drill["passed"]
        assert drill["recovery_seconds"] > 0
        assert drill["lost_steps"] == LOST_STEPS[name]
    for name, (_, fault) in SABOTAGED.items():
        drill = drills[f"sabotaged {name}"]
        assert not drill["passed"], name
        assert any(re.match(fault, told) for told in drill["faults"]), drill
    assert not report["passed"]
    assert "Traceback" not in captured.err
    assert CANARY not in captured.out + captured.err
    assert listing(store) == before


@pytest.mark.parametrize(
    ("number", "is_stopped", "exit_code"),
    [(signal.SIGTERM, False, 75), (signal.SIGHUP, True, 75), (signal.SIGINT, True, 130)],
    ids=["SIGTERM", "its-terminal-is-closed", "Ctrl-C"],
)
def test_a_drill_that_is_stopped_ends_its_run_and_removes_what_that_made(
    number: signal.Signals, is_stopped: bool, exit_code: int, tmp_path: Path, prefect_server: str
) -> None:
    """Also a run that stands still, as in stale-lease."""
    store = a_user_s_store(tmp_path)
    before = listing(store)
    drill = subprocess.Popen(
        [sys.executable, "-c", HEEDING_HANGUPS, "drill", "kill", f"--set=store.path={store}"],
        cwd=tmp_path,
        env={**os.environ, "PREFECT_API_URL": prefect_server, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    runs: list[ProcessRecord] = []
    try:
        while not list(store.glob("download/*/manifest.json")):
            assert drill.poll() is None, drill.communicate()[1]
            time.sleep(0.02)
        runs = [ProcessRecord.of(pid) for pid in children_of(drill.pid)]
        assert runs
        if is_stopped:
            for run in runs:
                os.kill(run.pid, signal.SIGSTOP)
        drill.send_signal(number)
        told = drill.communicate(timeout=60)[1]
        assert drill.returncode == exit_code, told
        assert "Traceback" not in told
        assert not any(run.is_alive() for run in runs)
        assert listing(store) == before
    finally:
        drill.kill()
        drill.communicate()
        for run in runs:
            if run.is_alive():
                os.kill(run.pid, signal.SIGKILL)


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Outcome]:
    """Drills that come to these outcomes, in no deployment."""
    made = [Outcome("kill", "SIGKILL", 19, 2.5, ()), Outcome("flood", "water", 0, 1.0, ("it is wet",))]
    for name in list(DRILLS):
        monkeypatch.delitem(DRILLS, name)
    for each in made:
        monkeypatch.setitem(DRILLS, each.name, lambda place, whole, between, each=each: each)
    monkeypatch.setattr("podsquad.command.drill.undisturbed", lambda place: "whole")
    monkeypatch.chdir(tmp_path)
    return made


def test_an_interpreter_without_the_drill_s_runtime_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    monkeypatch.setattr("podsquad.stages.libraries._version", lambda name: ABSENT if name == "torch" else "1.0")
    with pytest.raises(SettingsError, match="the runtime torch lacks torch") as caught:
        run_drills(settings, ["kill"], as_json=False)
    assert "podsquad[torch]" in caught.value.do
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODSQUAD_RUNTIME__PYTHON", "/opt/ipu/bin/python"),
        ("PODSQUAD_RUNTIME__PROCESSES", "2"),
        ("PODSQUAD_TRAINING__PRECISION", "float16"),
        ("PODSQUAD_MODEL__DROPOUT", "0.5"),
    ],
)
def test_a_deployment_s_own_settings_do_not_change_the_tiny_run(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    alone = Deployment(settings, tmp_path).settings(data__demo_seed="1")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODSQUAD_STORE__LEASE_SECONDS", "45")
    beside = Deployment(settings, tmp_path).settings(data__demo_seed="1")
    assert beside.store.lease_seconds == 45
    assert beside.model_copy(update={"store": alone.store}) == alone


@pytest.mark.parametrize(("names", "exit_code"), [(["kill"], 0), (["kill", "flood"], 1), ([], 1)])
def test_the_verdicts_are_told_and_decide_the_exit_code(
    names: list[str], exit_code: int, outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["drill", *names])
    assert (caught.value.code or 0) == exit_code
    out = capsys.readouterr().out
    assert "at most 19" in out
    assert ("flood: it is wet" in out) == (exit_code == 1)


def test_a_name_that_is_no_drill_s_is_refused(tmp_path: Path) -> None:
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    with pytest.raises(SettingsError, match="there is no drill 'flood'") as caught:
        run_drills(settings, ["flood"], as_json=False)
    assert "stale-lease" in caught.value.do
    assert not (tmp_path / "store").exists()


def test_a_deployment_in_which_nothing_runs_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("podsquad.command.drill.undisturbed", lambda place: "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["drill"])
    assert caught.value.code == 70
    assert "an undisturbed run failed" in capsys.readouterr().err


def test_what_bears_a_key_of_the_drill_s_goes_and_nothing_else(tmp_path: Path) -> None:
    store = a_user_s_store(tmp_path)
    before = listing(store)
    settings: Settings = load_settings("demo", {"store.path": str(store)}).settings
    with Deployment(settings, tmp_path) as place:
        ((stage, key),) = place.keys().items()
        for name in (f"{stage}/{key}/file", f"{stage}/.leases/{key}.3", f"{stage}/.work/{key}.3/step"):
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            (store / name).write_text("the drill's")
        (store / f".prefect/{stage}-{key}-0123").write_text("a result")
        (store / ".prefect/0123").write_text(f'{{"error": "building {key}"}}')
        (store / ".prefect/0456").write_text('{"error": "cannot load the tokenizer podsquad-drill/tokenizer"}')
    assert listing(store) == before


def test_a_stop_while_it_removes_what_it_made_leaves_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_user_s_store(tmp_path)
    before = listing(store)
    settings: Settings = load_settings("demo", {"store.path": str(store)}).settings
    removals: list[Path] = []

    def remove_stopped_once(path: Path, *, ignore_errors: bool) -> None:
        removals.append(path)
        if len(removals) == 1:
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(deployment, "remove", remove_stopped_once)
    place = Deployment(settings, tmp_path)
    ((stage, key),) = place.keys().items()
    (store / stage / key).mkdir(parents=True)
    (store / stage / key / "file").write_text("the drill's")
    with pytest.raises(KeyboardInterrupt):
        place.__exit__()
    assert len(removals) > 1
    assert listing(store) == before


def test_no_two_drills_have_a_key_in_common(tmp_path: Path) -> None:
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    with Deployment(settings, tmp_path) as place:
        one = place.keys()
        assert set(one) == {"download"}
        assert place.keys() == one
    with Deployment(settings, tmp_path) as place:
        assert place.keys() != one
