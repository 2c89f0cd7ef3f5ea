"""The flow in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import prefect
import pytest
from prefect.exceptions import PrefectHTTPStatusError
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.local import keep_interrupts_from_server, run_here
from podsquad.errors import PodsquadError, SettingsError, TemporaryError


def test_a_temporary_server_does_not_hear_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    look = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def start(server: Any) -> str:
        return subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(SubprocessASGIServer, "_instances", {})
    monkeypatch.setattr(SubprocessASGIServer, "_run_uvicorn_command", start)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        keep_interrupts_from_server()
    assert SubprocessASGIServer()._run_uvicorn_command() == "True"
    assert start(None) == "False"  # this process and its other children do


@contextmanager
def server_that_answers(status: int) -> Iterator[str]:
    """A server in Prefect's place that tells its version, so that it is talked to, and answers all else alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_version = self.path.endswith("/admin/version")
            content = json.dumps(prefect.__version__ if is_version else {}).encode()
            self.send_response(200 if is_version else status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://ada:let-me-in@127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "what"),
    [
        (401, SettingsError, r"refuses access \(HTTP 401\)"),
        (403, SettingsError, r"refuses access \(HTTP 403\)"),
        (408, TemporaryError, "cannot be reached: it answers 408"),
        (429, TemporaryError, "cannot be reached: it answers 429"),
        (500, TemporaryError, "cannot be reached: it answers 500"),
        (503, TemporaryError, "cannot be reached: it answers 503"),
        (404, PrefectHTTPStatusError, "404 Not Found"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_what_prefect_s_server_answers_says_what_to_do(status: int, kind: type[Exception], what: str) -> None:
    with server_that_answers(status) as address:
        settings = {PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(settings), pytest.raises(kind, match=what) as caught:
            run_here({})
    if isinstance(caught.value, PodsquadError):
        assert ("PREFECT_API_AUTH_STRING" in caught.value.do) == (status in (401, 403))
        assert "let-me-in" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_server_that_does_not_even_tell_its_version(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**parameters: Any) -> Any:
        response = httpx.Response(status, request=httpx.Request("GET", "http://127.0.0.1/api/admin/version"))
        try:
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise RuntimeError("Failed to reach API at http://127.0.0.1/api/") from error

    monkeypatch.setattr("flows.local.retrain", refuse)
    with pytest.raises(TemporaryError if status == 503 else SettingsError):
        run_here({})


@pytest.mark.parametrize("error", [RuntimeError("a bug"), httpx.TooManyRedirects("round and round")], ids=repr)
def test_what_says_nothing_of_the_server_stays_what_it_is(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**parameters: Any) -> Any:
        raise error

    monkeypatch.setattr("flows.local.retrain", fail)
    with pytest.raises(type(error), match=str(error)):
        run_here({})


def test_an_error_without_words_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**parameters: Any) -> Any:
        raise httpx.ReadTimeout("")

    monkeypatch.setattr("flows.local.retrain", fail)
    with pytest.raises(TemporaryError, match="cannot be reached: ReadTimeout"):
        run_here({})
