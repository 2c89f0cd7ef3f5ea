"""Automations of a genuine server, with a receiver on this machine in the webhook's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.deployments.place import TOLD_WITHIN_SECONDS, Place, running, stamp, wait_until
from tests.deployments.receiver import BLOCK, Receiver

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]
SILENT, TOO_LONG = 20.0, 10.0  # 10 s is the least that Prefect takes
BEAT = 4  # seconds between two heartbeats: five in a silence, with the figures that are delivered four

# A flow of the night's name that says its run's id and then only lives; its heart beats faster than Prefect allows.
LIVES = f"""
import signal
import prefect.flow_engine as engine
from prefect import flow
from prefect.runtime import flow_run
engine.MINIMUM_HEARTBEAT_INTERVAL = engine.BaseFlowRunEngine.heartbeat_seconds = {BEAT}
@flow(name="retrain")
def retrain():
    print(flow_run.id, flush=True)
    signal.pause()
retrain()
"""


@pytest.fixture(scope="module")
def receiver(place: Place) -> Iterator[Receiver]:
    made = Receiver()
    made.connect(place, silent_seconds=SILENT, too_long_seconds=TOO_LONG)
    yield made
    place.run("deployments.automations", "--webhook", BLOCK, PREFECT_API_URL=f"{place.url}/api")
    made.close()


def automations(place: Place) -> dict[str, dict[str, Any]]:
    found = place.call("POST", "/automations/filter", {})
    assert len({each["name"] for each in found}) == len(found)
    return {each["name"]: each for each in found}


def begin(place: Place, name: str, flow: str = "retrain") -> str:
    flow_id = place.call("POST", "/flows/", {"name": flow})["id"]
    run = place.call("POST", "/flow_runs/", {"flow_id": flow_id, "name": name})["id"]
    end(place, run, "RUNNING")
    return str(run)


def end(place: Place, run: str, kind: str, message: str = "") -> None:
    place.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": kind, "message": message}, "force": True})


@pytest.mark.parametrize(("kind", "flow"), [("FAILED", "retrain"), ("CRASHED", "retrain"), ("FAILED", "canary")])
def test_a_bad_end_is_told_with_its_reason_and_address(place: Place, receiver: Receiver, kind: str, flow: str) -> None:
    name = f'the "{kind}" ü of {flow}'
    run = begin(place, name, flow=flow)
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
    end(place, begin(place, "good"), "COMPLETED", "Promoted: not worse. Rejected: nothing.")
    for name, sentence in (("bad", "Rejected: F1 went\nfrom 80 to 4."), ("emulated", "Emulated. Rejected: as well.")):
        end(place, begin(place, name), "COMPLETED", sentence)
        message = receiver.message(name)
        assert (message["event"], message["message"]) == ("rejected", sentence)
    assert {"bad", "emulated"} <= {message["run"] for message in receiver.all}
    assert "good" not in {message["run"] for message in receiver.all}


def test_a_run_that_does_not_end_is_told(place: Place, receiver: Receiver) -> None:
    run = begin(place, "slow")
    message = receiver.message("slow")
    assert (message["event"], message["state"]) == ("runs too long", "Running")
    end(place, run, "COMPLETED")


def beats(place: Place, run: str) -> list[float]:
    """When the heart of a run has beaten."""
    chosen = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    events = place.call("POST", "/events/filter", {"filter": chosen})["events"]
    return [datetime.fromisoformat(each["occurred"]).timestamp() for each in events]


def test_a_run_is_shown_as_crashed_when_its_heart_is_silent_and_not_before(place: Place, receiver: Receiver) -> None:
    environ = place.environ | {"PREFECT_API_URL": f"{place.url}/api"}
    with running([sys.executable, "-c", LIVES], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        wait_until("it has lived longer than a silence may be", lambda: len(beats(place, run)) * BEAT > 1.5 * SILENT)
        assert place.state(run)["type"] == "RUNNING"
        process.send_signal(signal.SIGKILL)
    state = place.wait_for_state(run)
    assert state["type"] == "CRASHED"
    assert "no sign of life for 20 seconds" in state["message"]
    assert SILENT <= stamp(state) - max(beats(place, run)) < SILENT + TOLD_WITHIN_SECONDS


def test_registered_again_they_are_changed_in_place_and_stay_off_where_they_were(
    place: Place, receiver: Receiver
) -> None:
    before = automations(place)
    assert sorted(before) == [
        f"podsquad: {what}" for what in ("crashed", "failed", "no heartbeat", "no worker", "rejected", "runs too long")
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
