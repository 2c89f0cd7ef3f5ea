"""A Hub on this machine that fails on demand: a few read-only repositories, each a folder, and one fault at a time.

with HubServer({"ada/encoder": folder}) as hub:
    hub.fail(Fault("status", status=500))
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal

REVISION = "1" * 40
_SLOW_PIECES = 20  # of an answer's body
_TREE = re.compile(r"/api/(?:datasets|models)/([^/]+/[^/]+)/tree/[^/]+(?:/(.+))?")
_INFO = re.compile(r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/revision/[^/]+)?")
_FILE = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)")


@dataclass(frozen=True)
class Fault:
    """What goes wrong: another answer, half of one, a connection closed at once, a slow one, or none for ever."""

    do: Literal["status", "half", "cut", "slow", "never"]
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Of the other answer, beside its status and headers."""
    seconds: float = 1.0
    """How long a slow answer's body takes."""
    path: str = ""
    """Only requests whose path this pattern is found in."""
    times: int = 10**9
    """How many requests it meets."""


class HubServer:
    """The server, on a free port of 127.0.0.1, in threads."""

    def __init__(self, repositories: Mapping[str, Path]) -> None:
        self.repositories = dict(repositories)
        self.fault: Fault | None = None
        self.num_met = 0
        """Requests that met the present fault."""
        self.over = threading.Event()
        self._listener = _Listener(self)
        self.endpoint = f"http://127.0.0.1:{self._listener.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self._listener.shutdown()
        self._listener.server_close()

    def meets(self, path: str) -> Fault | None:
        """Return the fault that a request meets, and count it."""
        fault = self.fault
        if fault is None or self.num_met >= fault.times or not re.search(fault.path, path):
            return None
        self.num_met += 1
        return fault

    def fail(self, fault: Fault | None) -> None:
        """Let requests meet ``fault`` from now on; None: none."""
        self.num_met = 0
        self.fault = fault

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body for a path."""
        if found := _FILE.fullmatch(path):
            file = self._folder(found[1]) / found[2]
            if file.is_file():
                content = file.read_bytes()
                headers = {"X-Repo-Commit": REVISION, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
                return 200, headers, content
        elif found := _TREE.fullmatch(path):
            if not found[2]:
                return 200, {}, json.dumps([self._entry(found[1], name) for name in self._names(found[1])]).encode()
        elif (found := _INFO.fullmatch(path)) and self._folder(found[1]).is_dir():
            names = self._names(found[1])
            about: dict[str, object] = {"id": found[1], "sha": REVISION, "private": False, "gated": False}
            about |= {"disabled": False, "tags": [], "siblings": [{"rfilename": name} for name in names]}
            return 200, {}, json.dumps(about).encode()
        return 404, {"X-Error-Code": "EntryNotFound"}, b""

    def _folder(self, repository: str) -> Path:
        return self.repositories.get(repository, Path("/nowhere"))

    def _names(self, repository: str) -> list[str]:
        folder = self._folder(repository)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def _entry(self, repository: str, name: str) -> dict[str, object]:
        size = (self._folder(repository) / name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40}


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        hub, path = self.server.hub, self.path.partition("?")[0]
        status, headers, body = hub.answer(path)
        fault = hub.meets(path)
        if fault and fault.do in ("cut", "never"):
            if fault.do == "never":
                hub.over.wait()
            self.close_connection = True
            return
        if fault and fault.do == "status":
            status, headers, body = fault.status, fault.headers, fault.body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            half = fault is not None and fault.do == "half"
            if fault and fault.do == "slow":
                size = -(-len(body) // _SLOW_PIECES) or 1
                for begin in range(0, len(body), size):
                    hub.over.wait(fault.seconds / _SLOW_PIECES)
                    self.wfile.write(body[begin : begin + size])
            else:
                self.wfile.write(body[: len(body) // 2] if half else body)
            self.close_connection = self.close_connection or half

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815
