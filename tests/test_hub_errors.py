"""What failures of the Hub mean, told apart by status and names along the chain; with the client's genuine errors."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from huggingface_hub import errors as hub
from huggingface_hub import hf_api

from podsquad.errors import (
    DataError,
    DiskFullError,
    InputMissingError,
    PodsquadError,
    SettingsError,
    StoppedError,
    TemporaryError,
    hide_secrets,
)
from podsquad.hub_errors import Wording, explain_hub_error, first_line, status_of

WORDING = Wording("loading x failed", "loading x", "refused", "missing", "offline", "unreachable", "other", DataError)


def http(kind: type[hub.HfHubHTTPError], status: int) -> hub.HfHubHTTPError:
    response = httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co/x"))
    return kind(f"{status} from the Hub\nsecond line", response=response)


def wrapped(cause: BaseException) -> RuntimeError:
    error = RuntimeError("Error while uploading 'x' to the Hub.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "do"),
    [
        pytest.param(http(hub.HfHubHTTPError, 401), SettingsError, "refused", id="401"),
        pytest.param(http(hub.HfHubHTTPError, 402), SettingsError, "refused", id="402"),
        pytest.param(http(hub.HfHubHTTPError, 403), SettingsError, "refused", id="403"),
        pytest.param(http(hub.GatedRepoError, 403), SettingsError, "refused", id="gated"),
        pytest.param(http(hub.RepositoryNotFoundError, 401), SettingsError, "refused", id="unknown-or-private"),
        pytest.param(hub.LocalTokenNotFoundError("no token"), SettingsError, "refused", id="no-token"),
        pytest.param(http(hub.RepositoryNotFoundError, 404), InputMissingError, "missing", id="repository"),
        pytest.param(http(hub.RevisionNotFoundError, 404), InputMissingError, "missing", id="revision"),
        pytest.param(http(hub.RemoteEntryNotFoundError, 404), InputMissingError, "missing", id="file"),
        pytest.param(hub.OfflineModeIsEnabled("offline"), InputMissingError, "offline", id="offline"),
        *(
            pytest.param(http(hub.HfHubHTTPError, status), TemporaryError, "unreachable", id=str(status))
            for status in (408, 409, 412, 429, 500, 502, 503, 504)
        ),
        pytest.param(httpx2.ConnectError("refused"), TemporaryError, "unreachable", id="connect"),
        pytest.param(httpx2.ReadTimeout("slow"), TemporaryError, "unreachable", id="timeout"),
        pytest.param(httpx2.RemoteProtocolError("cut"), TemporaryError, "unreachable", id="cut"),
        pytest.param(hub.LocalEntryNotFoundError("no cache"), TemporaryError, "unreachable", id="not-in-cache"),
        pytest.param(wrapped(http(hub.HfHubHTTPError, 503)), TemporaryError, "unreachable", id="wrapped-503"),
        pytest.param(wrapped(http(hub.HfHubHTTPError, 403)), SettingsError, "refused", id="wrapped-403"),
        pytest.param(http(hub.BadRequestError, 400), DataError, "other", id="400"),
        pytest.param(ValueError("nonsense"), DataError, "other", id="anything-else"),
    ],
)
def test_each_failure_has_its_meaning(error: Exception, kind: type[PodsquadError], do: str) -> None:
    explained = explain_hub_error(error, WORDING)
    assert type(explained) is kind
    assert explained.do == do
    assert explained.what.startswith("loading x failed")
    assert explained.why
    assert "second line" not in str(explained)


def raised(function: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function()
    return caught.value


ANSWERS = {"a page": b"<html>Sign in</html>", "nothing": b"", "half": b'[{"type": "fi', "no text": b'{"id": "\xff"}'}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_no_json_is_temporary_and_a_file_is_not(answer: str) -> None:
    content = ANSWERS[answer]
    explained = explain_hub_error(raised(httpx2.Response(200, content=content).json), WORDING)
    assert type(explained) is TemporaryError
    assert explained.what == "loading x failed: the Hub's answer cannot be read"
    assert explained.do == "unreachable"
    assert isinstance(explain_hub_error(raised(lambda: json.loads(content)), WORDING), DataError)


def test_json_that_is_not_a_hub_s_is_temporary_and_a_row_without_a_column_is_not() -> None:
    assert isinstance(explain_hub_error(raised(lambda: hf_api.DatasetInfo(ok=True)), WORDING), TemporaryError)
    assert isinstance(explain_hub_error(raised(lambda: {}["answers"]), WORDING), DataError)


def test_a_token_that_cannot_be_sent_is_no_fault_of_the_hub() -> None:
    error = raised(lambda: httpx2.Headers({"authorization": "Bearer Zoë"}))
    assert isinstance(error, UnicodeEncodeError)
    assert isinstance(explain_hub_error(error, WORDING), DataError)


def test_a_full_disk_and_an_error_of_our_own_go_through_every_wrapping() -> None:
    full = OSError(errno.ENOSPC, "no space", "/x")
    assert isinstance(explain_hub_error(wrapped(wrapped(full)), WORDING), DiskFullError)
    own = StoppedError("asked to stop")
    assert explain_hub_error(wrapped(own), WORDING) is own


def test_a_wrapping_tells_its_cause() -> None:
    assert "(caused by ValueError: nonsense)" in explain_hub_error(wrapped(ValueError("nonsense")), WORDING).why


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert isinstance(explain_hub_error(one, WORDING), DataError)
    assert status_of(one) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf_SECRET1234",
        "authorization: Bearer SECRET1234",
        "https://ada:SECRET1234@mirror.example/x",
        "https://s3.example/x?X-Amz-Signature=SECRET1234&y=1",
        "https://s3.example/x?X-Amz-Credential=SECRET1234%2Fus-east-1",
        "https://cdn.example/x?Policy=SECRET1234&Signature=SECRET1234",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    hidden = hide_secrets(f"before {text} after")
    assert "SECRET1234" not in hidden
    assert "***" in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")


@pytest.mark.parametrize("error", [ValueError(), ValueError(" \n ")])
def test_an_error_without_words_has_a_line(error: Any) -> None:
    assert first_line(error) == "ValueError: no message"
