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


HOURS = [
    pytest.param(429, {"RateLimit": '"resolvers";r=0;t=3600'}, id="RateLimit"),
    *(pytest.param(status, {"Retry-After": "3600"}, id=str(status)) for status in (409, 429, 500, 503)),
]


@pytest.mark.parametrize(("status", "headers"), HOURS)
def test_a_hub_that_asks_for_an_hour_is_not_waited_for(
    status: int, headers: dict[str, str], hub: HubServer, bounded: list[float]
) -> None:
    hub.fail(Fault("status", status, headers))
    with pytest.raises(TemporaryError, match="asks to wait for 3,600 seconds") as caught:
        LISTINGS["tree"](huggingface_hub.HfApi(endpoint=hub.endpoint, token=False))
    assert caught.value.why
    assert caught.value.do
    assert bounded == []
    assert hub.num_met == 1


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"RateLimit": '"resolvers";r=0;t=6'}, 7.0),  # the client adds a second
        ({"RateLimit": '"resolvers";r=0;t=6', "Retry-After": "3600"}, 7.0),
        ({"RateLimit": '"resolvers";r=0;t=300'}, 301.0),
        ({"RateLimit": '"resolvers";r=5;t=3600', "Retry-After": "6"}, 7.0),  # some are left: not the reason
        ({"Retry-After": format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)}, 1.0),
        ({}, 1.0),
    ],
    ids=["RateLimit", "both", "the Hub's whole window", "RateLimit with some left", "a date", "nothing"],
)
def test_a_short_wait_is_waited_and_the_listing_comes(
    headers: dict[str, str], waited: float, hub: HubServer, bounded: list[float]
) -> None:
    hub.fail(Fault("status", 429, headers, times=1))
    assert LISTINGS["tree"](huggingface_hub.HfApi(endpoint=hub.endpoint, token=False))
    assert bounded == [waited]


ODD_LIMITS = [
    "",
    "r=0",
    '"api";r=0',
    '"api";r=0;t=',
    '"api";r=0;t=-1',
    '"api";r=\xb2;t=1',
    '"a";r=' + "0" * 5000 + ";t=9",
]
ODD_WISHES = [
    "",
    "soon",
    "\xb2",
    "-1",
    "1.5",
    "inf",
    "Mon, 01 Jan 0001 00:00:00 -0000",
    "Wed, 99 Xyz 0000 00:00:00 GMT",
]


@pytest.mark.parametrize("limit", ODD_LIMITS, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("wish", ODD_WISHES, ids=ascii)
def test_odd_wishes_are_none(limit: str, wish: str, hub: HubServer, bounded: list[float]) -> None:
    """The client itself fails over some of them, as over a number that is not made of 0 to 9."""
    hub.fail(Fault("status", 429, {"RateLimit": limit, "Retry-After": wish}, times=1))
    assert LISTINGS["tree"](huggingface_hub.HfApi(endpoint=hub.endpoint, token=False))
    assert bounded == [1.0]


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": '"api";r=0;t=' + "9" * 5000},
        {"Retry-After": "9" * 5000},
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    ],
    ids=["RateLimit", "Retry-After", "a date"],
)
def test_a_wait_of_any_length_is_told(headers: dict[str, str], hub: HubServer, bounded: list[float]) -> None:
    hub.fail(Fault("status", 429, headers))
    with pytest.raises(TemporaryError, match="asks to wait for"):
        LISTINGS["tree"](huggingface_hub.HfApi(endpoint=hub.endpoint, token=False))
    assert bounded == []


def test_a_bound_of_the_caller_s_own_stays(hub: HubServer, bounded: list[float]) -> None:
    hub.fail(Fault("never"))
    with pytest.raises(_http.httpx2.TimeoutException):
        huggingface_hub.HfApi(endpoint=hub.endpoint, token=False).model_info(NAME, timeout=0.1)


def test_what_a_hub_asks_to_wait_is_read_from_seconds_and_dates() -> None:
    def asked(value: str) -> float | None:
        return asked_wait(SimpleNamespace(status_code=503, headers={"Retry-After": value}))

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
