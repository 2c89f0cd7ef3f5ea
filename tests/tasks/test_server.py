"""Prefect's server: which failures of a request heal by waiting."""

from __future__ import annotations

import httpx
import pytest

from tasks.server import why_away

REQUEST = httpx.Request("GET", "http://127.0.0.1/api")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(408, "it answers 408"), (429, "it answers 429"), (500, "it answers 500"), (599, "it answers 599")]
    + [(status, "") for status in (400, 401, 403, 404, 409, 422)],
)
def test_an_answer_that_passes_by_waiting_has_a_reason(status: int, reason: str) -> None:
    assert why_away(httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(status))) == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("Connection refused"), "Connection refused"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (httpx.TooManyRedirects("round and round"), ""),
    ],
    ids=repr,
)
def test_a_server_that_is_not_reached_is_away(error: httpx.HTTPError, reason: str) -> None:
    assert why_away(error) == reason
