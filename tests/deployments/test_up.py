"""make up and make down, as people use them, with a genuine server and worker."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from podsquad.processes import ProcessRecord, write_record
from tests.deployments.place import HOME, Place, wait_until

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]
NAMES = {"nightly", "on-demand", "canary", "demo"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for this module alone."""
    with contextlib.closing(Place(tmp_path_factory.mktemp("place"))) as made:
        made.up()
        yield made


def test_a_second_up_leaves_what_runs_and_makes_no_duplicates(place: Place) -> None:
    processes = [place.process(what) for what in ("server", "worker")]
    before = place.deployments()
    assert before.keys() == NAMES
    out = place.up()
    assert f"the UI: {place.url}" in out
    assert out.count("runs already") == 2
    assert [place.process(what) for what in ("server", "worker")] == processes
    after = place.deployments()
    assert {name: each["id"] for name, each in after.items()} == {name: each["id"] for name, each in before.items()}


def test_the_worker_has_the_caller_s_settings_and_this_checkout_s_prefect(place: Place) -> None:
    environ = Path(f"/proc/{place.process('worker').pid}/environ").read_text().split("\0")
    assert "PREFECT_WORKER_QUERY_SECONDS=1" in environ
    assert f"PREFECT_HOME={place.folder}/.podsquad/prefect" in environ
    assert f"PREFECT_API_URL={place.url}/api" in environ


def test_the_deployments_are_as_the_file_says(place: Place) -> None:
    found = place.deployments()
    assert {each["work_pool_name"] for each in found.values()} == {"pod"}
    assert {name: each["concurrency_options"]["collision_strategy"] for name, each in found.items()} == {
        "nightly": "CANCEL_NEW",
        "on-demand": "ENQUEUE",
        "canary": "ENQUEUE",
        "demo": "ENQUEUE",
    }
    assert {each["global_concurrency_limit"]["limit"] for each in found.values()} == {1}
    schedules = {name: each["schedules"] for name, each in found.items() if each["schedules"]}
    assert schedules.keys() == {"nightly", "canary"}
    assert all(not each["active"] and each["schedule"]["timezone"] for (each,) in schedules.values())
    assert str(HOME) not in str(found)
    assert str(place.folder) not in str(found)


def test_a_parameter_that_the_flow_does_not_have_is_refused_by_name(place: Place) -> None:
    target = f"{place.url}/api/deployments/{place.deployments()['demo']['id']}/create_flow_run"
    answer = httpx.post(target, json={"parameters": {"profil": "cpu"}}, timeout=60)
    assert answer.status_code == 409
    assert "profil" in answer.text


def test_a_night_that_was_switched_on_stays_on(place: Place) -> None:
    nightly = place.deployments()["nightly"]
    target = f"/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
    place.call("PATCH", target, {"active": True})
    out = place.run("deployments.register")
    assert "registered retrain/nightly" in out
    (schedule,) = place.deployments()["nightly"]["schedules"]
    assert schedule["active"]
    assert not place.deployments()["canary"]["schedules"][0]["active"]


def run_on_terminal(place: Place, arguments: tuple[str, ...]) -> str:
    """Run Prefect's command where it may ask, and return what it says."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=place.folder,
        env=place.environ | {"PREFECT_API_URL": f"{place.url}/api"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # how a terminal tells that its other side is closed
            while part := os.read(ours, 65536):
                said += part
                if b"[y/n]" in said:
                    process.kill()
    os.close(ours)
    assert process.returncode == 0, said.decode()
    return said.decode()


def test_prefect_s_own_command_registers_the_same_and_asks_nothing(place: Place) -> None:
    before = place.deployments()
    out = run_on_terminal(place, ("deploy", "--all"))
    assert "?" not in out
    after = place.deployments()
    assert {name: each["id"] for name, each in after.items()} == {name: each["id"] for name, each in before.items()}


def test_the_command_uses_that_server(place: Place) -> None:
    environ = {"PYTHONPATH": f"{place.folder}{os.pathsep}{HOME}"}
    told = place.program("tests.flows.night", "run", "--json", **environ)
    assert told.returncode == 0, told.stderr
    flow = {"flows": {"name": {"any_": ["retrain"]}}, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    (run,) = place.call("POST", "/flow_runs/filter", flow)
    assert run["deployment_id"] is None


def test_what_has_died_is_started_again_alone(place: Place) -> None:
    server, worker = (place.process(what) for what in ("server", "worker"))
    os.kill(server.pid, signal.SIGKILL)
    wait_until("the server has ended", lambda: not server.is_alive())
    out = place.up()
    assert "server       started" in out
    assert f"worker       runs already (process {worker.pid})" in out
    assert place.deployments()["nightly"]["schedules"][0]["slug"] == "night"


def test_another_port_while_it_runs_is_refused(place: Place) -> None:
    done = place.program("deployments.up", "--port", "1")
    assert done.returncode == 64
    assert f"error: the server of this checkout runs at {place.url}, not on port 1" in done.stderr


def test_a_second_worker_of_the_checkout_is_refused(place: Place) -> None:
    done = place.program("deployments.worker")
    assert done.returncode == 64
    assert f"a worker of this checkout runs already (process {place.process('worker').pid})" in done.stderr


def test_down_stops_what_was_started_and_nothing_else(place: Place) -> None:
    server, worker = (place.process(what) for what in ("server", "worker"))
    assert place.down() == (
        f"worker       stopped (process {worker.pid})\nserver       stopped (process {server.pid})\n"
    )
    assert not server.is_alive()
    assert not worker.is_alive()
    # The number is another process's by now: this one's.
    myself = ProcessRecord(os.getpid(), "another birth")
    for what in ("server", "worker"):
        write_record(place.folder / f".podsquad/{what}.json", myself, api_url=f"{place.url}/api")
    assert place.down() == "worker       does not run\nserver       does not run\n"
    assert not list((place.folder / ".podsquad").glob("*.json"))


def test_a_taken_port_is_one_clear_message(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = place.program("deployments.up", "--port", str(other.getsockname()[1]))
    assert done.returncode == 64
    assert "cannot be used: Address already in use" in done.stderr
    assert "make up PORT=" in done.stderr
