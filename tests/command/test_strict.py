"""What ``podsquad run`` prints and exits with for each verdict; the flow is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podsquad import cli
from podsquad.command import run

STAGE = {
    "stage": "download",
    "state": "reused",
    "seconds": 0.0,
    "key": "k" * 32,
    "reason": "unchanged",
    "path": "/s/download/k",
}


def report(verdict: str | None, **changes: Any) -> dict[str, Any]:
    told = {
        "verdict": verdict,
        "reason": "So it is.",
        "policy": "The champion stays." if verdict == "incomparable" else "",
        "num_earlier_uses": None if verdict == "unchanged" else 1_234,
    }
    return {
        "exact_match": 75.0,
        "f1": 87.5,
        "num_questions": 10,
        "emulated": False,
        "verdict": told if verdict else None,
        "is_published": verdict in ("first", "promoted"),
        "publication": "/p/versions/v-abc" if verdict else None,
        "model": "/p/current",
        "example": {"question": "Who?", "context": "Ada."},
        "stages": [STAGE],
    } | changes


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], told: dict[str, Any], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr(cli, "_run_flow", lambda parameters: told)
    monkeypatch.setattr(run, "prepare_prefect", lambda environ: None)
    monkeypatch.setattr(run, "run_checks", lambda settings, **options: ())
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(["run", *arguments])
    return int(end.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("first", 0), ("promoted", 0), ("unchanged", 0), ("rejected", 1), ("incomparable", 1), (None, 0)],
)
def test_only_a_strict_run_ends_with_1_and_only_where_the_champion_was_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: str | None, code: int
) -> None:
    assert call(monkeypatch, capsys, report(verdict))[0] == 0
    ended, out = call(monkeypatch, capsys, report(verdict), "--strict")
    assert ended == code
    if verdict:
        assert f"verdict     {verdict}: So it is." in out
        word = "published" if verdict in ("first", "promoted") else "stays"
        assert [line for line in out.splitlines() if line.split() == [word, "/p/versions/v-abc"]]
        assert ("\nuses        1,234 other models were judged on these questions" in out) == (verdict != "unchanged")
    assert ("The champion stays." in out) == (verdict == "incomparable")
    ended, out = call(monkeypatch, capsys, report(verdict), "--strict", "--json")
    assert ended == code
    assert json.loads(out)["f1"] == 87.5


def test_a_strict_run_that_published_what_could_not_be_compared_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = report("incomparable", is_published=True)
    assert call(monkeypatch, capsys, told, "--strict")[0] == 0
    assert call(monkeypatch, capsys, report("incomparable"), "--strict")[0] == 1


def test_a_night_that_made_nothing_has_no_stage_and_no_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = report("unchanged", stages=[], example=None, model=None)
    ended, out = call(monkeypatch, capsys, told, "--strict")
    assert ended == 0
    assert "verdict     unchanged" in out
    assert "ask it" not in out
    assert "store" not in out
    assert Path("/p/versions/v-abc").name in out
