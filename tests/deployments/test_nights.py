"""One device and several nights, each started in another way: they take turns, and the waiting ones say for whom."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.deployments.place import PATIENCE_SECONDS, Place, running, wait_until
from tests.deployments.training import SIZE, Training, standing_still

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]


def settings(place: Place, seed: int) -> dict[str, Any]:
    device = {"runtime.exclusive": "always", "runtime.lock_folder": str(place.folder)}
    return SIZE | device | {"training.epochs": 1, "training.seed": seed}


def schedule_now(place: Place, seed: int) -> str:
    """Let the deployment ``nightly`` start by its schedule and return the run."""
    schedules = f"/deployments/{place.deployments()['nightly']['id']}/schedules"
    parameters = {"profile": "demo", "overrides": settings(place, seed)}
    body = {"schedule": {"interval": 15.0}, "active": True, "slug": "soon", "parameters": parameters}
    (schedule,) = place.call("POST", schedules, [body])
    began = {"type": {"any_": ["PENDING", "RUNNING"]}}
    chosen = {"flow_runs": {"state": began}, "deployments": {"name": {"any_": ["nightly"]}}}
    (run,) = wait_until("the schedule has started a run", lambda: place.call("POST", "/flow_runs/filter", chosen))
    place.call("DELETE", f"{schedules}/{schedule['id']}")
    assert run["auto_scheduled"]
    return str(run["id"])


@contextmanager
def most_at_once(training: Training) -> Iterator[list[int]]:
    """Count the place's runtimes again and again; the list holds the greatest number when the block is left."""
    most, is_over = [0], threading.Event()

    def look() -> None:
        while not is_over.wait(0.05):
            most[0] = max(most[0], len(training.runtimes()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def test_nights_take_turns_whatever_started_them(place: Place) -> None:
    training = Training(place)
    with most_at_once(training) as most:
        night = schedule_now(place, seed=1)
        (runtime,) = wait_until("the night trains", training.children)
        sets = [f"--set={name}={value}" for name, value in settings(place, seed=3).items()]
        with running(
            [sys.executable, "-m", "podsquad", "run", "--profile", "demo", *sets],
            cwd=place.folder,
            env=place.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as command:
            # Until the others have come: not in an earlier stage, whose artifact is the others' too.
            with standing_still(runtime):
                asked = place.start_run("on-demand", {"profile": "demo", "overrides": settings(place, seed=2)})
                second_night = place.start_run("nightly", {"profile": "demo", "overrides": settings(place, seed=4)})
                state = place.wait_for_state(second_night)
                assert (state["type"], state["message"]) == ("CANCELLED", "Deployment concurrency limit reached.")

                waits = f"the device cpu is used by process {runtime} on {socket.gethostname()} ("
                wait_until("the one from the form waits", lambda: waits in place.told(asked))
                assert command.stderr is not None
                said = ""
                while waits not in said:
                    said += (line := command.stderr.readline())
                    assert line, said
                assert "of demo-reader with the profile demo, since 20" in said
            said += command.communicate(timeout=PATIENCE_SECONDS)[1]
        assert command.returncode == 0, said
        assert place.wait_for_state(night)["type"] == "COMPLETED"
        assert place.wait_for_state(asked)["type"] == "COMPLETED"
    assert most == [1]
