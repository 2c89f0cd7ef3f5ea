"""With which environment the server and the worker run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments import home
from deployments.automations import SILENT_SECONDS
from podsquad.errors import InternalError, PodsquadError, SettingsError
from podsquad.store.durable import write_json


@pytest.fixture(autouse=True)
def prefect_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home, "PREFECT_HOME", tmp_path / "prefect")
    return tmp_path / "prefect"


def test_which_prefect_the_caller_uses_is_left_out_and_every_other_setting_stays(
    monkeypatch: pytest.MonkeyPatch, prefect_home: Path
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PODSQUAD_X__Y"):
        monkeypatch.setenv(name, "theirs")
    environ = home.own_environment()
    assert environ["PREFECT_HOME"] == str(prefect_home)
    assert "PREFECT_PROFILE" not in environ
    assert "PREFECT_API_URL" not in environ
    assert environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == environ["PODSQUAD_X__Y"] == "theirs"
    assert (
        30 <= int(environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) <= SILENT_SECONDS / 3
    )  # Prefect takes no less than 30


def test_the_caller_s_server_goes_before_and_none_is_a_clear_message(prefect_home: Path) -> None:
    assert home.use_server({"PREFECT_API_URL": "http://theirs/api"}) == "http://theirs/api"
    with pytest.raises(SettingsError, match="there is no Prefect server to talk to") as caught:
        home.use_server({})
    assert "make up" in caught.value.do
    write_json(prefect_home.with_name("server.json"), {"pid": 1, "born": "long ago", "api_url": "http://dead/api"})
    with pytest.raises(SettingsError, match="no Prefect server"):
        home.use_server({})


@pytest.mark.parametrize(
    ("error", "exit_code", "told"),
    [
        (SettingsError("no", why="because", do="this"), 64, "error: no\n  why: because\n  do:  this\n"),
        (ValueError("x"), InternalError.exit_code, "error: ValueError: x"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["foreseen", "unforeseen", "ctrl-c"],
)
def test_a_program_ends_with_its_error_s_code_and_words(
    error: PodsquadError, exit_code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        home.run_program(program)
    assert caught.value.code == exit_code
    assert told in capsys.readouterr().err


def test_a_program_that_ends_well_just_ends(capsys: pytest.CaptureFixture[str]) -> None:
    home.run_program(lambda: print("done"))
    assert capsys.readouterr().out == "done\n"
