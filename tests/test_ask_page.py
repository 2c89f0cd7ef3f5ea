"""The page's server over real HTTP: whom it answers, what it refuses, and that nothing ends it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from html import escape
from threading import Event, Thread
from typing import Any

import pytest

from podsquad.ask_page import ADDRESS, MOST_BODY_BYTES, AskServer, _Handler, parse_request
from podsquad.errors import DataError, SettingsError, TemporaryError

SECONDS = 120.0
NASTY = "<script>alert(1)</script>&\"'$nonce"


def answer(question: str, context: str) -> dict[str, Any]:
    if question == "settings":
        raise SettingsError("the question is too long", why="a window", do="ask a shorter one")
    if question == "temporary":
        raise TemporaryError("not now")
    if question == "bug":
        raise KeyError("secret of the inside")
    return {"text": context[:3], "before": "", "after": context[3:], "question was": question}


@pytest.fixture
def server() -> Iterator[AskServer]:
    with AskServer(0, f"model {NASTY}", answer) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join(SECONDS)


class Reply:
    """A reply, read to its end."""

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = reply.status, reply.headers, reply.read()

    def json(self) -> Any:
        return json.loads(self.body)


def call(server: AskServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    """Make one request; a header's name is written with _ for -. The Host header is right unless it is given."""
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=SECONDS)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in given and "Transfer-Encoding" not in given:
            given["Content-Length"] = str(len(body))
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def ask(server: AskServer, question: Any, context: Any, **headers: str) -> Reply:
    body = json.dumps({"question": question, "context": context}).encode()
    return call(server, "POST", "/answer", body, **{"Content_Type": "application/json"} | headers)


def test_the_page_loads_nothing_from_elsewhere_and_escapes_the_model_s_name(server: AskServer) -> None:
    reply = call(server, "GET", "/")
    page = reply.body.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f"model {escape(NASTY)}" in page
    assert NASTY not in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|https?://", page)
    policy = reply.headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r"nonce-([\w-]+)'", policy))
    assert re.findall(r"<(?:script|style)[^>]*>", page) == [f'<style nonce="{nonce}">', f'<script nonce="{nonce}">']
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert nonce not in call(server, "GET", "/").body.decode()


def test_it_listens_on_this_machine_alone(server: AskServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_question_is_answered(server: AskServer) -> None:
    reply = ask(server, "Wér?", "Ada 😀 </script>")
    assert reply.status == 200
    assert reply.json() == {"text": "Ada", "before": "", "after": " 😀 </script>", "question was": "Wér?"}
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["localhost:{}", "127.0.0.1:{}", "LOCALHOST:{}"])
def test_its_own_names_are_taken(server: AskServer, host: str) -> None:
    assert call(server, "GET", "/", Host=host.format(server.server_port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{}",
        "localhost",
        "127.0.0.1",
        "localhost:1",
        "localhost:{}.evil.example",
        "",
        "[::1]:{}",
    ],
)
def test_another_host_s_name_is_refused(server: AskServer, host: str) -> None:
    for reply in (
        call(server, "GET", "/", Host=host.format(server.server_port)),
        call(server, "HEAD", "/", Host=host.format(server.server_port)),
        ask(server, "Who?", "Ada", Host=host.format(server.server_port)),
    ):
        assert reply.status == 421
        assert b"Ada" not in reply.body


def test_two_or_no_host_headers_are_refused(server: AskServer) -> None:
    right = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for headers in (right + "Host: evil.example\r\n", right + right, ""):
        with socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\n{headers}\r\n".encode())
            assert connection.makefile("rb").readline().split()[1] == b"421"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{}", "http://127.0.0.1:1"])
def test_another_site_s_question_is_refused(server: AskServer, origin: str) -> None:
    assert ask(server, "Who?", "Ada", Origin=origin.format(server.server_port)).status == 403


def test_its_own_page_s_question_is_taken(server: AskServer) -> None:
    assert ask(server, "Who?", "Ada", Origin=f"http://localhost:{server.server_port}").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_site_could_send_is_refused(server: AskServer, kind: str) -> None:
    assert ask(server, "Who?", "Ada", Content_Type=kind).status == 415


@pytest.mark.parametrize(
    ("question", "status", "kind"),
    [("settings", 422, "SettingsError"), ("temporary", 500, "TemporaryError"), ("bug", 500, "InternalError")],
)
def test_an_error_is_told_in_words(server: AskServer, question: str, status: int, kind: str) -> None:
    reply = ask(server, question, "Ada")
    assert (reply.status, reply.json()["error"]["kind"]) == (status, kind)
    assert b"Traceback" not in reply.body
    assert ask(server, "Who?", "Ada").status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b"{}", b'{"question": "Who?"}', b'{"question": 1, "context": "Ada"}',
     b'{"question": "Who?", "context": ["Ada"]}', b"\xff\xfe", b"[" * 100_000, b"NaN"],
)  # fmt: skip
def test_what_is_no_question_is_refused(server: AskServer, body: bytes) -> None:
    reply = call(server, "POST", "/answer", body, Content_Type="application/json")
    assert (reply.status, reply.json()["error"]["kind"]) == (422, "DataError")
    with pytest.raises(DataError):
        parse_request(body)


def test_a_text_may_be_as_long_as_the_limit_and_no_longer(server: AskServer) -> None:
    frame = len(json.dumps({"question": "Who?", "context": ""}))
    assert ask(server, "Who?", "x" * (MOST_BODY_BYTES - frame)).status == 200
    reply = ask(server, "Who?", "x" * (MOST_BODY_BYTES - frame + 1))
    assert (reply.status, reply.json()["error"]["what"][:20]) == (413, "the text is too long")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "1e3"}, 411),
        ({"Content_Length": "٣"}, 411),
        ({"Content_Length": "9" * 5000}, 413),
        ({"Transfer_Encoding": "chunked"}, 411),
    ],
    ids=["negative", "no number", "Arabic digits", "huge", "chunked"],
)
def test_a_body_of_no_known_length_is_not_read(server: AskServer, headers: dict[str, str], status: int) -> None:
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    with socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS) as connection:
        lines = [f"POST /answer HTTP/1.1\r\nHost: localhost:{server.server_port}\r\nContent-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in encoded.items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/other", 404), ("GET", "/../../etc/passwd", 404), ("GET", "//evil", 404), ("POST", "/", 404),
     ("OPTIONS", "/answer", 501), ("PUT", "/", 501), ("GET", "/answer", 404)],
)  # fmt: skip
def test_there_is_nothing_else(server: AskServer, method: str, path: str, status: int) -> None:
    assert call(server, method, path).status == status


def test_head_has_the_same_headers_and_no_body(server: AskServer) -> None:
    reply = call(server, "HEAD", "/")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 1000


def test_a_browser_that_goes_away_leaves_no_trace(server: AskServer, capfd: pytest.CaptureFixture[str]) -> None:
    for begun in (b"", b"GE", b"GET / HTTP/1.1\r\n", b"POST /answer HTTP/1.1\r\nHost: localhost\r\n"):
        socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS).close()
        with socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS) as connection:
            connection.sendall(begun)
    with socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS) as connection:
        head = f"POST /answer HTTP/1.1\r\nHost: localhost:{server.server_port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
    assert ask(server, "Who?", "Ada").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_browser_that_goes_away_as_it_is_refused_leaves_no_trace(
    server: AskServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    has_answered, is_gone = Event(), Event()

    class Handler(_Handler):
        def _send(self, *arguments: Any) -> None:
            super()._send(*arguments)
            has_answered.set()
            assert is_gone.wait(SECONDS)

    monkeypatch.setattr(server, "RequestHandlerClass", Handler)
    connection = socket.create_connection((ADDRESS, server.server_port), timeout=SECONDS)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
    assert has_answered.wait(SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it goes without a farewell
    connection.close()
    is_gone.set()
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(SECONDS)
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_named(server: AskServer) -> None:
    with pytest.raises(SettingsError, match=f"cannot listen on port {server.server_port}: Address already in use"):
        AskServer(server.server_port, "model", answer)
