"""Ends of a worker and of its runs, with real signals, and what the server shows afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from tests.deployments.place import Place, wait_until

pytestmark = pytest.mark.prefect_live


@pytest.fixture(scope="module", autouse=True)
def waits(place: Place) -> None:
    place.register_waits()


@pytest.fixture(autouse=True)
def with_worker(place: Place) -> None:
    place.up()


def test_sigterm_lets_the_runs_save_and_retry_goes_on_from_there(place: Place) -> None:
    waiting, worker = place.waiting("sigterm"), place.process("worker")
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    os.kill(worker.pid, signal.SIGTERM)
    assert waiting.wait_until_ended() == "SIGTERM received"
    wait_until("the worker has ended", lambda: not worker.is_alive())
    state = place.state(run)
    assert (state["type"], state["message"]) == ("CRASHED", "Execution was aborted by a termination signal.")
    wait_until("the server knows the task's end", lambda: place.task_states(run) == ["CRASHED"])

    place.retry(run)
    place.up()
    assert place.wait_for_state(run)["type"] == "COMPLETED"
    assert "goes on from SIGTERM received" in place.log("worker")


def test_all_killed_at_once_is_told_when_the_worker_is_back(place: Place) -> None:
    waiting, worker = place.waiting("killed"), place.process("worker")
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    wait_until("the server knows the task", lambda: place.task_states(run) == ["RUNNING"])
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(place.flow_pid(run), signal.SIGKILL)
    assert waiting.wait_until_ended() == "the process that started this one is gone"
    assert place.state(run)["type"] == "RUNNING"  # nobody is left to tell

    place.up()
    state = place.state(run)
    assert state["type"] == "CRASHED"
    assert "ended without a word (a killed worker, or the host went down)" in state["message"]
    assert set(place.task_states(run)) == {"CRASHED"}
    place.retry(run)
    assert place.wait_for_state(run)["type"] == "COMPLETED"


def test_a_run_that_outlives_its_worker_is_left_alone(place: Place) -> None:
    waiting, worker = place.waiting("alive"), place.process("worker")
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    os.kill(worker.pid, signal.SIGKILL)
    place.up()
    assert place.state(run)["type"] == "RUNNING"
    assert "still goes on" in place.log("worker")
    os.kill(place.flow_pid(run), signal.SIGTERM)
    assert waiting.wait_until_ended() == "SIGTERM received"
    assert place.wait_for_state(run)["type"] == "CRASHED"


def test_a_second_night_is_cancelled_with_a_reason_and_others_wait_for_their_turn(place: Place) -> None:
    first, second = place.waiting("first"), place.waiting("second")
    night, order = (place.start_run(name, {"folder": str(first.folder)}) for name in ("cancel", "queue"))
    for _ in range(2):
        first.wait_until_begun()
    late = place.wait_for_state(place.start_run("cancel", {"folder": str(second.folder)}))
    assert (late["type"], late["message"]) == ("CANCELLED", "Deployment concurrency limit reached.")
    queued = place.start_run("queue", {"folder": str(second.folder)})
    place.wait_for_state(queued, ["AwaitingConcurrencySlot"])
    for run in (night, order):
        os.kill(place.flow_pid(run), signal.SIGTERM)
        first.wait_until_ended()
    second.wait_until_begun()
    assert place.state(queued)["type"] == "RUNNING"
    place.call("POST", f"/flow_runs/{queued}/set_state", {"state": {"type": "CANCELLING"}, "force": True})
    assert second.wait_until_ended() == "SIGTERM received"
    assert place.wait_for_state(queued)["type"] == "CANCELLED"
