"""``podsquad run --canary`` as a program: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.command import canary as canary_command
from podsquad.config.load import load_settings
from tests.command.test_run import Command, command

__all__ = ["command"]  # a fixture


def test_the_command_reproduces_what_a_run_made(command: Command) -> None:
    code, _, err = command.run("run")
    assert code == 0, err
    code, out, err = command.run("run", "--canary", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["verdict"], report["scratch"]) == ("reproduced", None)
    assert "canary reproduces the champion" in err or "canary reproduces the store's newest model" in err
    assert len(command.made("train")) == 1
    # Nothing that these settings made is there to reproduce.
    code, out, err = command.run("run", "--canary", "--set", "training.seed=7")
    assert code == 66
    assert "there is no model to reproduce" in err
    assert "Traceback" not in err


DRIFT: dict[str, Any] = {
    "verdict": "drifted",
    "emulated": False,
    "summary": "Drifted from the champion.",
    "scratch": "/some/store/.canary",
    "stages": [
        {
            "stage": "train",
            "is_same": False,
            "expected_digest": "a" * 64,
            "digest": "b" * 64,
            "differences": [],
            "files": ["model/model.safetensors"],
        }
    ],
}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_drift_is_told_and_the_exit_code_says_no(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(canary_command, "prepare_prefect", lambda environ: None)
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    given: list[dict[str, Any]] = []

    def flow(parameters: dict[str, Any]) -> dict[str, Any]:
        given.append(parameters)
        return dict(DRIFT)

    code = canary_command.run_canary(
        settings, {"training.seed": "1984"}, run_flow=flow, keep=True, note="weekly", as_json=as_json
    )
    assert code == 1
    overrides = {"training.seed": "1984"}
    assert given == [{"profile": "demo", "keep": True, "note": "weekly", "overrides": overrides}]
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out)["stages"] == DRIFT["stages"]
    else:
        assert "train  OTHER  aaaaaaaaaaaa   bbbbbbbbbbbb  model/model.safetensors" in out
        assert "canary      Drifted from the champion." in out
        assert "kept in     /some/store/.canary" in out
        assert "emulated" not in out


def test_a_canary_over_the_emulation_says_so_beside_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(canary_command, "prepare_prefect", lambda environ: None)
    settings = load_settings("demo", {"store.path": str(tmp_path / "store")}).settings
    made = {**DRIFT, "emulated": True, "scratch": None}
    canary_command.run_canary(settings, {}, run_flow=lambda _: made, keep=False, note="", as_json=False)
    *_, said, took = capsys.readouterr().out.splitlines()
    assert said == "emulated    on this machine's CPU: no IPU was used, and no time here is an IPU's"
    assert took.startswith("in ")
