"""What goes wrong before a run has done anything: one clear message, where the person looks, and nothing half-done."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from tests.deployments.place import NOBODY_WITHIN_SECONDS, PATIENCE_SECONDS, Place, free_port, running, stamp

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]


@pytest.fixture
def nobody() -> str:
    """The address of a server that is not there."""
    return f"http://127.0.0.1:{free_port()}/api"


@pytest.mark.parametrize(
    ("deployment", "parameters", "told"),
    [
        ("nightly", {}, "SettingsError: there is no Poplar SDK: the runtime's interpreter, this one, has no poptorch"),
        (
            "demo",
            {"profile": "demo", "overrides": {"training.epochs": 0}},
            "SettingsError: training.epochs = 0 (from the form): Input should be greater than or equal to 1",
        ),
        (
            "demo",
            {"profile": "demo", "overrides": {"store.path": "/dev/null/store"}},
            "StoreError: store.path /dev/null/store cannot be a folder: /dev/null is a file",
        ),
        (
            "demo",
            {
                "profile": "demo",
                "overrides": {
                    "publish.target": "hub",
                    "publish.repository": "nobody/reader",
                    "publish.token_block": "nobody-made-it",
                },
            },
            "SettingsError: there is no Prefect Secret block nobody-made-it",
        ),
    ],
    ids=["a host without the SDK", "a setting out of range", "no place for the store", "a missing secret"],
)
def test_a_run_that_cannot_succeed_fails_at_once_and_its_page_says_why(
    place: Place, deployment: str, parameters: dict[str, Any], told: str
) -> None:
    run = place.start_run(deployment, parameters)
    state = place.wait_for_state(run)
    assert state["type"] == "FAILED"
    assert state["message"].startswith(f"Flow run encountered an exception: {told}")
    assert "\nDo: " in state["message"]
    assert place.task_states(run) == []


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"profile": "pod"}, "'pod' is not one of ['demo', "), ({"changes": {"epochs": 0}}, "0 is less than the minimum")],
    ids=["an unknown profile", "a setting out of range"],
)
def test_the_form_refuses_what_is_not_allowed(place: Place, parameters: dict[str, Any], told: str) -> None:
    target = f"{place.url}/api/deployments/{place.deployments()['demo']['id']}/create_flow_run"
    answer = httpx.post(target, json={"parameters": parameters}, timeout=60)
    assert answer.status_code == 409
    assert told in answer.text


def test_a_run_of_an_older_version_fails_and_names_what_is_no_more(place: Place) -> None:
    demo = place.deployments()["demo"]
    copied = {name: demo[name] for name in ("flow_id", "entrypoint", "pull_steps", "work_pool_name")}
    schema = {"type": "object", "properties": {"profile": {"type": "string"}, "base": {"type": "string"}}}
    body = {"name": "former", "parameters": {"profile": "demo", "base": "x"}, "parameter_openapi_schema": schema}
    former = place.call("POST", "/deployments/", copied | body)["id"]
    run = place.start_run("former", {})
    state = place.wait_for_state(run)
    place.call("DELETE", f"/deployments/{former}")
    assert state["type"] == "FAILED"
    assert state["message"].startswith(
        "the flow does not take base any more\nWhy: this run was made by another version"
    )
    assert "make deploy" in state["message"]


def test_a_run_that_no_worker_takes_says_so_and_starts_when_there_is_one(place: Place) -> None:
    place.stop("worker")
    run = place.start_run("nightly", {})
    state = place.wait_for_state(run, ["AwaitingWorker"])
    due = datetime.fromisoformat(place.call("GET", f"/flow_runs/{run}")["expected_start_time"]).timestamp()
    assert stamp(state) - due < NOBODY_WITHIN_SECONDS
    assert state["message"].startswith("no worker takes runs from the work pool pod. On its host: make up")
    place.start_worker()
    assert place.wait_for_state(run)["type"] == "FAILED"  # no SDK, as above


@pytest.mark.parametrize("program", ["deployments.register", "deployments.automations"])
def test_a_server_that_cannot_be_reached_is_one_clear_message(place: Place, program: str, nobody: str) -> None:
    done = place.program(program, PREFECT_API_URL=nobody)
    assert done.returncode == 75
    assert done.stderr.startswith(f"error: Prefect's server at {nobody} cannot be reached: ")
    assert "make up" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_tells_the_same(place: Place, nobody: str) -> None:
    done = place.program("podsquad", "run", "--profile", "demo", PREFECT_API_URL=nobody)
    assert done.returncode == 75
    assert "error: Prefect's server cannot be reached: " in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def unwell(address: str) -> Iterator[queue.Queue[str]]:
    """A server at that address that answers 503 to everything, and the paths that it was asked for."""
    asked: queue.Queue[str] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.put(self.path)
            self.send_error(503)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", httpx.URL(address).port or 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_a_worker_without_a_server_says_so_and_goes_on_asking(place: Place, nobody: str) -> None:
    place.stop("worker")
    environ = place.environ | {"PREFECT_API_URL": nobody}
    command = [sys.executable, "-m", "deployments.worker"]
    with running(command, cwd=place.folder, env=environ, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        line = worker.stderr.readline()
        with unwell(nobody) as asked:
            for _ in range(2):
                assert asked.get(timeout=PATIENCE_SECONDS) == "/api/health"
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=PATIENCE_SECONDS)
    assert f"the server at {nobody} cannot be reached (" in line
    assert worker.returncode != 0
    place.start_worker()
