"""The Hub's client waits within bounds, whoever reads through it, and without Xet wherever that is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http
from huggingface_hub.utils._runtime import is_xet_available

from podsquad import hub_waits
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.drill.hub_server import Fault, HubServer
from podsquad.errors import TemporaryError
from podsquad.hub_waits import asked_wait, bound_hub_waits

NAME = "ada/lovelace"


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Bind this process's client anew; yield what it waits between its attempts, which it does not."""
    waits: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(**vars(time) | {"sleep": waits.append}))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    bound_hub_waits.cache_clear()
    bound_hub_waits()
    yield waits
    huggingface_hub.close_session()


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({NAME: ENCODER_FOLDER}) as server:
        yield server


LISTINGS: dict[str, Callable[[Any], Any]] = {
    "info": lambda api: api.model_info(NAME),
    "tree": lambda api: list(api.list_repo_tree(NAME)),
    "dataset": lambda api: api.dataset_info(NAME),
}


@pytest.mark.parametrize("what", LISTINGS)
def test_a_listing_that_is_never_answered_ends(
    what: str, hub: HubServer, bounded: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_waits, "ANSWER_SECONDS", 0.1)
    hub.fail(Fault("never"))
    with pytest.raises(_http.httpx2.TimeoutException):
        LISTINGS[what](huggingface_hub.HfApi(endpoint=hub.endpoint, token=False))
    assert hub.num_met >= 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_asks_for_an_hour_is_not_waited_for(status: int, hub: HubServer, bounded: list[float]) -> None:
    hub.fail(Fault("status", status, {"Retry-After": "3600"}))
    with pytest.raises(TemporaryError, match="asks to wait for 3,600 seconds") as caught:
        list(huggingface_hub.HfApi(endpoint=hub.endpoint, token=False).list_repo_tree(NAME))
    assert caught.value.why
    assert caught.value.do
    assert bounded == []
    assert hub.num_met == 1


def test_a_bound_of_the_caller_s_own_stays(hub: HubServer, bounded: list[float]) -> None:
    hub.fail(Fault("never"))
    with pytest.raises(_http.httpx2.TimeoutException):
        huggingface_hub.HfApi(endpoint=hub.endpoint, token=False).model_info(NAME, timeout=0.1)


def test_what_a_hub_asks_to_wait_is_read_from_seconds_and_dates() -> None:
    def asked(value: str) -> float | None:
        return asked_wait(SimpleNamespace(headers={"Retry-After": value}))

    assert asked("7") == 7.0
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < (asked(format_datetime(soon, usegmt=True)) or 0.0) <= 100
    assert asked(format_datetime(soon - timedelta(days=1), usegmt=True)) == 0.0
    assert asked("soon") is None
    assert asked_wait(None) is None


def test_xet_is_not_used_where_it_is_installed(bounded: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert is_xet_available()
    bound_hub_waits.cache_clear()
    bound_hub_waits()
    assert not is_xet_available()
