"""A receiver on this machine in the place of whoever gets the automations' messages."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.deployments.place import PATIENCE_SECONDS, Place

BLOCK = "night-watch"


class Receiver:
    """Listens where the webhook points and keeps what it gets."""

    def __init__(self) -> None:
        self.got: queue.Queue[dict[str, Any]] = queue.Queue()
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def message(self, about: str) -> dict[str, Any]:
        """Return the next message about the run of that name; others may come between."""
        while (message := self.got.get(timeout=PATIENCE_SECONDS))["run"] != about:
            pass
        return message

    def connect(self, place: Place, *, silent_seconds: float = 120.0, too_long_seconds: float = 3600.0) -> None:
        """Make the block as a person makes it in the UI, and register the automations with it."""
        kind = place.call("GET", "/block_types/slug/webhook")["id"]
        schema = place.call("POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})[0]
        body = {"block_type_id": kind, "block_schema_id": schema["id"], "name": BLOCK, "data": {"url": self.url}}
        place.call("POST", "/block_documents/", body)
        times = ("--silent-seconds", str(silent_seconds), "--too-long-hours", str(too_long_seconds / 3600))
        place.run("deployments.automations", "--webhook", BLOCK, *times, PREFECT_API_URL=f"{place.url}/api")

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
