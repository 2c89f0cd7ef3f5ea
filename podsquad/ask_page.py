"""A page on this machine that answers questions about a text: what ``podsquad ask --serve`` serves.

It listens on 127.0.0.1 alone, loads nothing from elsewhere, and answers only whom it names itself to: a page of another
site that a browser on this machine shows can neither read it under a name of its own (DNS rebinding: the Host header is
compared) nor make it work (the Origin header is compared, and only JSON is taken).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from threading import Lock
from typing import Any

from podsquad.errors import DataError, InternalError, PodsquadError, SettingsError

ADDRESS = "127.0.0.1"
MOST_BODY_BYTES = 4 * 2**20
_MOST_DISCARDED_BYTES = 64 * 2**20
_REQUEST_SECONDS = 30.0  # for a request to arrive: nobody holds a thread by sending nothing
_EXPECTED = "a question is asked as the page asks it: question and context, both texts, in one object"
_SEND = 'send {"question": "...", "context": "..."}, or ask on the page'
_PAGE = Path(__file__).with_name("ask_page.html")
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Answering = Callable[[str, str], dict[str, Any]]


class AskServer(ThreadingHTTPServer):
    """Serve the page, and POST /answer for it; ``answer`` is called by one thread at a time."""

    daemon_threads = True

    def __init__(self, port: int, model: str, answer: Answering) -> None:
        """Listen on ``port``, or on a free one for 0. Raises SettingsError when the port is taken or not allowed."""
        self.model = model
        self._answer = answer
        self._one_at_a_time = Lock()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on port {port}: {error.strerror or error}",
                why="another program listens there, or this user may not",
                do="give another, or --port 0 for a free one",
            ) from error
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def answer(self, question: str, context: str) -> dict[str, Any]:
        """Return the answer as JSON values."""
        with self._one_at_a_time:
            return self._answer(question, context)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what went wrong with a connection; nothing when the browser has just gone."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: AskServer
    server_version = "podsquad"
    sys_version = ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        if self.path.partition("?")[0] != "/":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no page {self.path}")
            return
        nonce = secrets.token_urlsafe(16)
        page = Template(_PAGE.read_text(encoding="utf-8"))
        content = page.substitute(nonce=nonce, model=escape(self.server.model)).encode("utf-8", "replace")
        self._send(HTTPStatus.OK, "text/html; charset=utf-8", content, _POLICY.format(nonce=nonce))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if not self._is_for_us():
            return
        if self.path != "/answer":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing to post to at {self.path}")
            return
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "the question comes from another site")
            return
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the question is not sent as application/json")
            return
        if (body := self._body()) is None:
            return
        try:
            question, context = parse_request(body)
            said = self.server.answer(question, context)
            status = HTTPStatus.OK
        except (SettingsError, DataError) as error:
            said, status = _told(error), HTTPStatus.UNPROCESSABLE_ENTITY
        except PodsquadError as error:
            said, status = _told(error), HTTPStatus.INTERNAL_SERVER_ERROR
        except Exception as error:
            said = _told(
                InternalError(
                    f"{type(error).__name__}: {error}",
                    why="podsquad did not foresee this: a bug",
                    do="report this with the question and the text",
                )
            )
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        self._send_json(status, said)

    def _is_for_us(self) -> bool:
        hosts = self.headers.get_all("Host") or [""]
        if len(hosts) == 1 and hosts[0].strip().lower() in self.server.hosts:
            return True
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, f"this is {self.server.url} and no other host")
        return False

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the question does not say how long it is")
            return None
        if len(length) > 12 or int(length) > MOST_BODY_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the text is too long: {MOST_BODY_BYTES:,} bytes are taken",
                "ask with podsquad ask --context-file FILE, which takes any length",
            )
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None  # the browser has gone

    def _refuse(self, status: HTTPStatus, what: str, do: str = "") -> None:
        why = "this server answers what its own page asks, and nothing else"
        self._send_json(status, _told(SettingsError(what, why=why, do=do or f"open {self.server.url} in a browser")))
        # A connection closed with bytes unread is reset, and the browser would not see why.
        left = _MOST_DISCARDED_BYTES
        with contextlib.suppress(OSError):  # it may have gone by then
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (piece := self.rfile.read1(min(left, 2**16))):
                left -= len(piece)

    def _send_json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode("ascii"), "default-src 'none'")

    def _send(self, status: HTTPStatus, kind: str, content: bytes, policy: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: what people ask is theirs."""


def parse_request(body: bytes) -> tuple[str, str]:
    """Return question and context of a posted JSON object. Raises DataError for anything else."""
    try:
        value = json.loads(body)
        question, context = value["question"], value["context"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"what was sent is no question and text in JSON: {type(error).__name__}", why=_EXPECTED, do=_SEND
        ) from error
    if not isinstance(question, str) or not isinstance(context, str):
        raise DataError("the question or the text is no text in JSON", why=_EXPECTED, do=_SEND)
    return question, context


def _told(error: PodsquadError) -> dict[str, Any]:
    return {"error": {"kind": type(error).__name__, "what": error.what, "why": error.why, "do": error.do}}
