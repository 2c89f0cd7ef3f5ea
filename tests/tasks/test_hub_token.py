"""The Hub's token out of a genuine Prefect server's Secret block, for the time of one call."""

from __future__ import annotations

import os

import pytest
from prefect.blocks.system import Secret

from podsquad.errors import SettingsError, TemporaryError
from tasks import hub_token as module
from tasks.hub_token import VARIABLE, hub_token

CANARY = "hf_CanaryOfABlock0123456789"


def name_of(test: pytest.FixtureRequest) -> str:
    return "token-of-" + "".join(letter if letter.isalnum() else "-" for letter in test.node.name).lower()


@pytest.mark.parametrize("before", [None, "hf_ofTheEnvironment"])
def test_it_is_there_for_the_call_and_what_was_there_comes_back(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, before: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    Secret(value=f" {CANARY}\n").save(name_of(request), overwrite=True)
    seen: list[str] = []

    def fail() -> None:
        with hub_token(name_of(request)):
            seen.append(os.environ[VARIABLE])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [CANARY]
    assert os.environ.get(VARIABLE) == before


def test_no_block_leaves_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "hf_ofTheEnvironment")
    with hub_token(""):
        assert os.environ[VARIABLE] == "hf_ofTheEnvironment"


def test_a_block_that_is_not_there_is_told(prefect_server: str) -> None:
    with (
        pytest.raises(SettingsError, match="no Prefect Secret block nobody-made-it") as caught,
        hub_token("nobody-made-it"),
    ):
        pass
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", ["  ", {"token": CANARY}])
def test_a_block_without_text_is_told_and_its_content_is_not(
    prefect_server: str, request: pytest.FixtureRequest, value: object
) -> None:
    Secret(value=value).save(name_of(request), overwrite=True)
    with pytest.raises(SettingsError, match="holds no token") as caught, hub_token(name_of(request)):
        pass
    assert CANARY not in str(caught.value)


def test_a_server_that_cannot_be_asked_is_a_temporary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError(f"refused, with {CANARY}")

    monkeypatch.setattr(module.Secret, "load", fail)
    with pytest.raises(TemporaryError, match="ConnectionError") as caught, hub_token("any"):
        pass
    assert CANARY not in str(caught.value)
