"""The drills through the genuine command: all pass, nothing of them stays; a recovery that is sabotaged fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from podsquad.cli import main
from podsquad.command.drill import run_drills
from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.drill.deployment import Deployment
from podsquad.drill.scenarios import DRILLS, Outcome, kill
from podsquad.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]


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


def sabotaged(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Lose the checkpoints after the kill: what is to be recovered is not there."""

    def lose() -> None:
        for checkpoint in place.checkpoints():
            checkpoint.rename(checkpoint.with_name("lost-" + checkpoint.name))

    return kill(place, whole, lose)


@pytest.mark.timeout(1800)
def test_every_drill_passes_a_sabotaged_one_fails_and_nothing_stays(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = a_user_s_store(tmp_path)
    before = listing(store)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    names = list(DRILLS)
    monkeypatch.setitem(DRILLS, "sabotaged", sabotaged)
    settings = load_settings("demo", {"store.path": str(store)}).settings
    assert not run_drills(settings, [], as_json=True)
    captured = capfd.readouterr()
    report = json.loads(captured.out)
    *drills, last = report["drills"]
    assert [drill["name"] for drill in drills] == names
    for drill in drills:
        assert drill["passed"], drill
        assert drill["faults"] == []
        assert drill["recovery_seconds"] > 0
        assert 0 <= drill["lost_steps"] < 300
    assert not last["passed"]
    assert not report["passed"]
    assert any(fault.startswith("the training went on from step 0, though step ") for fault in last["faults"])
    assert "Traceback" not in captured.err
    assert listing(store) == before


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
    assert listing(store) == before


def test_no_two_drills_have_a_key_in_common(tmp_path: Path) -> None:
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    with Deployment(settings, tmp_path) as place:
        one = place.keys()
        assert set(one) == {"download"}
        assert place.keys() == one
    with Deployment(settings, tmp_path) as place:
        assert place.keys() != one
