"""A receiver on this machine in the place of whoever gets the automations' messages."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.deployments.place import PATIENCE_SECONDS, Place

BLOCK = "night-watch"


def make_block(place: Place, url: str) -> None:
    """Make the Webhook block as a person makes it in the UI."""
    kind = place.call("GET", "/block_types/slug/webhook")["id"]
    schema = place.call("POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})[0]
    body = {"block_type_id": kind, "block_schema_id": schema["id"], "name": BLOCK, "data": {"url": url}}
    place.call("POST", "/block_documents/", body)


class Receiver:
    """Listens where the webhook points and keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._new: queue.Queue[dict[str, Any]] = queue.Queue()
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _keep(self, message: dict[str, Any]) -> None:
        self.all.append(message)
        self._new.put(message)

    def message(self, about: str) -> dict[str, Any]:
        """Return the next message about the run of that name; others may come between, and are in ``all``."""
        while (message := self._new.get(timeout=PATIENCE_SECONDS))["run"] != about:
            pass
        return message

    def connect(self, place: Place, *, silent_seconds: float = 120.0, too_long_seconds: float = 3600.0) -> None:
        """Register the automations with a block that leads here."""
        make_block(place, self.url)
        times = ("--silent-seconds", str(silent_seconds), "--too-long-hours", str(too_long_seconds / 3600))
        place.run("deployments.automations", "--webhook", BLOCK, *times, PREFECT_API_URL=f"{place.url}/api")

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
