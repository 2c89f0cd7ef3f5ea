"""The server: two listeners on this machine, the Hub and the storage it sends large files to, in threads.

with HubServer({"hf_token": Person("ada")}) as hub:
    HfApi(endpoint=hub.endpoint, token="hf_token").create_repo("ada/model")
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.publishing.hub_server.calls import ROUTES, Answer, Call, Request, World, unquoted
from tests.publishing.hub_server.faults import Fault, Faults
from tests.publishing.hub_server.files import HUB_ROUTES, STORAGE_ROUTES
from tests.publishing.hub_server.people import Person
from tests.publishing.hub_server.repositories import RefusedError

WRITES = ("POST", "PUT", "DELETE")


@dataclass(frozen=True)
class Logged:
    """One request that came in, and the status it got; 0 when it got none."""

    method: str
    path: str
    status: int

    @property
    def changes(self) -> bool:
        """Tell whether it is of a kind that changes something."""
        return (
            self.method in WRITES
            and not self.path.endswith(("/validate-yaml", "/batch"))
            and ("/preupload/" not in self.path)
        )


class HubServer:
    """A Hub for tests: without Xet, in memory, on free ports of 127.0.0.1."""

    def __init__(self, people: Mapping[str, Person], *, part_bytes: int | None = None, port: int = 0) -> None:
        self.world = World(dict(people), part_bytes=part_bytes)
        self.faults = Faults()
        self.log: list[Logged] = []
        self.lock = threading.RLock()
        """Held while a request is worked on: one at a time changes the world."""
        self._listeners = [
            _Listener(self, ROUTES + HUB_ROUTES, port),
            _Listener(self, STORAGE_ROUTES, 0),
        ]
        self.endpoint, self.storage = (f"http://127.0.0.1:{each.server_address[1]}" for each in self._listeners)
        self.world.endpoint, self.world.storage = self.endpoint, self.storage

    def __enter__(self) -> HubServer:
        for listener in self._listeners:
            threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.faults.over.set()
        for listener in self._listeners:
            listener.shutdown()
            listener.server_close()

    def fail(self, do: str, method: str = ".*", path: str = ".*", **more: Any) -> None:
        """Add a rule (faults.Fault)."""
        self.faults.add(Fault(do, method, path, **more))

    def control(self, path: str, body: bytes) -> Answer:
        """Answer a test in another process (``__main__``)."""
        with self.lock:
            if path == "/-/state":
                repositories = {name: each.summary() for name, each in self.world.repositories.items()}
                requests = [asdict(each) for each in self.log]
                return Answer({"repositories": repositories, "requests": requests})
            if path == "/-/faults":
                self.faults.add(Fault(**json.loads(body))) if body else self.faults.clear()
                return Answer({})
            return Answer({}, 404)

    def take_log(self) -> list[Logged]:
        """Return what came in since the last call."""
        with self.lock:
            taken, self.log = self.log, []
        return taken


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, hub: HubServer, routes: tuple[tuple[str, str, Call], ...], port: int) -> None:
        self.hub = hub
        self.routes = tuple((method, re.compile(pattern), call) for method, pattern, call in routes)
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients are killed here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests read the log."""

    def _serve(self) -> None:
        address = urlsplit(self.path)
        body = self._read_body()
        if address.path.startswith("/-/"):
            return self._send(self.server.hub.control(address.path, body))
        fault = self.server.hub.faults.match(self.command, address.path)
        request = Request(
            self.command,
            address.path,
            dict(parse_qsl(address.query)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
            None,
        )
        if fault is None:
            return self._send(self._answer(request))
        return self._fail(fault, request)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815, the names that http.server looks for

    def _read_body(self) -> bytes:
        """Return the whole body; raise ConnectionError where the client is gone before its end."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read_exactly(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline() or b"", 16):
            body += self._read_exactly(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _read_exactly(self, num_bytes: int) -> bytes:
        content = self.rfile.read(num_bytes)
        if len(content) < num_bytes:
            raise ConnectionResetError("the client is gone")
        return content

    def _answer(self, request: Request) -> Answer:
        hub = self.server.hub
        with hub.lock:
            try:
                request.person = self._person(request)
                answer = self._route(request)
            except RefusedError as error:
                answer = _refusal(error.status, str(error), error.code)
            hub.log.append(Logged(request.method, request.path, answer.status))
        return answer

    def _route(self, request: Request) -> Answer:
        for method, pattern, call in self.server.routes:
            if re.fullmatch(method, request.method) and (found := pattern.fullmatch(request.path)):
                request.parts = unquoted(found.groups())
                return call(self.server.hub.world, request)
        raise RefusedError(404, f"no such call: {request.method} {request.path}")

    def _person(self, request: Request) -> Person | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return None
        if (found := self.server.hub.world.people.get(token)) is None:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return found

    def _fail(self, fault: Fault, request: Request) -> None:
        hub = self.server.hub
        if fault.call:
            fault.call()
        if fault.do == "call":
            return self._send(self._answer(request))
        if fault.do in ("status_after", "cut_after", "hold_after", "cut_body", "corrupt", "delay"):
            if fault.do == "delay":
                hub.faults.over.wait(fault.seconds)
            if fault.do == "corrupt" and request.method == "PUT":
                request.body = _flipped(request.body)
            answer = self._answer(request)
            if fault.do == "delay" or (fault.do == "corrupt" and request.method == "PUT"):
                return self._send(answer)
            if fault.do == "corrupt":
                answer.content = _flipped(_encoded(answer.content))
                return self._send(answer)
            if fault.do == "cut_body":
                return self._send(answer, cut=True)
        else:
            with hub.lock:
                status = fault.status if fault.do == "status" else 0
                hub.log.append(Logged(request.method, request.path, status))
        if fault.do.startswith("status"):
            failed = _refusal(fault.status, fault.message, "")
            failed.headers |= fault.headers
            return self._send(failed)
        if fault.do.startswith("hold"):
            hub.faults.tell_held()
        if fault.do.startswith("hold") or fault.do == "never":
            self._wait_until_gone()
        return self._close()

    def _wait_until_gone(self) -> None:
        self.connection.settimeout(0.05)
        while not self.server.hub.faults.over.is_set():
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def _close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, answer: Answer, cut: bool = False) -> None:
        content = _encoded(answer.content)
        if answer.status == 200 and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            first = int(asked[1])
            answer.headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            content, answer.status = content[first:], 206
        headers = {"Content-Type": "application/json; charset=utf-8"} | answer.headers
        headers["Content-Length"] = str(len(content))
        self.send_response_only(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._close()


def _refusal(status: int, message: str, code: str) -> Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return Answer({"error": message}, status, headers)


def _encoded(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return b"" if content is None else json.dumps(content).encode()


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
