"""Automations of a genuine server, with a receiver on this machine in the webhook's place."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.deployments.place import Place, wait_until

pytestmark = pytest.mark.prefect_live
SILENT, TOO_LONG = 10.0, 10.0  # the least that Prefect takes

# A flow of the night's name that says its run's id and then only lives.
LIVES = """
import signal
from prefect import flow
from prefect.runtime import flow_run
@flow(name="retrain")
def retrain():
    print(flow_run.id, flush=True)
    signal.pause()
retrain()
"""


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
        while (message := self.got.get(timeout=90))["run"] != about:
            pass
        return message


@pytest.fixture(scope="module")
def receiver(place: Place) -> Iterator[Receiver]:
    made = Receiver()
    kind = place.call("GET", "/block_types/slug/webhook")["id"]
    schema = place.call("POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})[0]
    body = {"block_type_id": kind, "block_schema_id": schema["id"], "name": "night-watch", "data": {"url": made.url}}
    place.call("POST", "/block_documents/", body)
    arguments = ("--webhook", "night-watch", "--silent-seconds", str(SILENT), "--too-long-hours", str(TOO_LONG / 3600))
    place.run("deployments.automations", *arguments, PREFECT_API_URL=f"{place.url}/api")
    yield made
    made.server.shutdown()
    made.server.server_close()


def automations(place: Place) -> dict[str, dict[str, Any]]:
    found = place.call("POST", "/automations/filter", {})
    assert len({each["name"] for each in found}) == len(found)
    return {each["name"]: each for each in found}


def begin(place: Place, name: str, *tags: str) -> str:
    flow = place.call("POST", "/flows/", {"name": "retrain"})["id"]
    run = place.call("POST", "/flow_runs/", {"flow_id": flow, "name": name, "tags": tags})["id"]
    end(place, run, "RUNNING")
    return str(run)


def end(place: Place, run: str, kind: str, message: str = "") -> None:
    place.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": kind, "message": message}, "force": True})


@pytest.mark.parametrize("kind", ["FAILED", "CRASHED"])
def test_a_bad_end_is_told_with_its_reason_and_address(place: Place, receiver: Receiver, kind: str) -> None:
    name = f'the "{kind}" ü'
    run = begin(place, name)
    end(place, run, kind, 'the file "x" is\nbroken')
    message = receiver.message(name)
    assert message == {
        "event": kind.lower(),
        "run": name,
        "state": kind.title(),
        "message": 'the file "x" is\nbroken',
        "url": f"{place.url}/runs/flow-run/{run}",
    }


def test_a_run_that_the_gate_rejected_is_told_and_one_that_passed_is_not(place: Place, receiver: Receiver) -> None:
    end(place, begin(place, "good", "verdict:passed"), "COMPLETED")
    end(place, begin(place, "bad", "verdict:rejected"), "COMPLETED")
    assert receiver.message("bad")["event"] == "rejected"
    assert all(message["run"] != "good" for message in receiver.got.queue)


def test_a_run_that_does_not_end_is_told(place: Place, receiver: Receiver) -> None:
    run = begin(place, "slow")
    message = receiver.message("slow")
    assert (message["event"], message["state"]) == ("runs too long", "Running")
    end(place, run, "COMPLETED")


def test_a_killed_process_that_no_worker_saw_is_shown_as_crashed(place: Place, receiver: Receiver) -> None:
    environ = place.environ | {"PREFECT_API_URL": f"{place.url}/api", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    with subprocess.Popen([sys.executable, "-c", LIVES], env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        beat = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
        wait_until("a heartbeat", lambda: place.call("POST", "/events/filter", {"filter": beat})["total"])
        process.send_signal(signal.SIGKILL)
    state = place.wait_for_state(run)
    assert state["type"] == "CRASHED"
    assert "no sign of life for 10 seconds" in state["message"]


def test_registered_again_they_are_changed_in_place_and_stay_off_where_they_were(
    place: Place, receiver: Receiver
) -> None:
    before = automations(place)
    assert sorted(before) == [
        f"podsquad: {what}" for what in ("crashed", "failed", "no heartbeat", "rejected", "runs too long")
    ]
    off = before["podsquad: failed"]["id"]
    place.call("PATCH", f"/automations/{off}", {"enabled": False})
    place.run("deployments.automations", "--webhook", "night-watch", PREFECT_API_URL=f"{place.url}/api")
    after = automations(place)
    assert {name: each["id"] for name, each in after.items()} == {name: each["id"] for name, each in before.items()}
    assert [name for name, each in after.items() if not each["enabled"]] == ["podsquad: failed"]
    assert after["podsquad: no heartbeat"]["trigger"]["within"] == 120.0
    place.run("deployments.automations", PREFECT_API_URL=f"{place.url}/api")  # without a block nothing is taken away
    assert automations(place).keys() == before.keys()


def test_a_block_that_is_not_there_is_one_clear_message(place: Place) -> None:
    done = place.program("deployments.automations", "--webhook", "nobody", PREFECT_API_URL=f"{place.url}/api")
    assert done.returncode == 66
    assert done.stderr.splitlines()[0] == "error: there is no Webhook block named 'nobody'"
    assert "under Blocks" in done.stderr


def test_a_silence_that_prefect_cannot_measure_is_one_clear_message(place: Place) -> None:
    done = place.program("deployments.automations", "--silent-seconds", "3", PREFECT_API_URL=f"{place.url}/api")
    assert done.returncode == 64
    assert done.stderr.startswith("error: 3 seconds are too short")


def test_without_a_server_one_clear_message(place: Place) -> None:
    os.rename(place.folder / ".podsquad/server.json", place.folder / "aside")
    try:
        done = place.program("deployments.automations")
    finally:
        os.rename(place.folder / "aside", place.folder / ".podsquad/server.json")
    assert done.returncode == 64
    assert "there is no Prefect server to talk to" in done.stderr
    assert "make up" in done.stderr
