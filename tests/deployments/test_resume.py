"""The genuine training, stopped in the middle in every way that happens: what the server shows, and how it goes on.

Whatever is done to a run, in the end the model must have the bytes of one that nobody disturbed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.deployments.place import TOLD_WITHIN_SECONDS, Place, stamp, wait_until
from tests.deployments.training import STEPS, Training, standing_still

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]
BEFORE = ("download", "tokenize", "compile")
HANG_SECONDS = 60.0  # a runtime says nothing while it imports torch, on a busy machine for half a minute
IMPATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "0", "PREFECT_WORKER_QUERY_SECONDS": "0.1"}
# After so many failures Prefect's own worker gives up (prefect/utilities/services.py: three, or four times three).
GIVES_UP = {"what to run": 12, "what to cancel": 3}


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict[str, Any]:
    training = Training(place)
    training.forget()
    assert place.wait_for_state(training.start())["type"] == "COMPLETED"
    made = training.made()
    assert made["steps"] == STEPS
    return made


@pytest.fixture
def training(place: Place, undisturbed: dict[str, Any]) -> Training:
    place.ensure_up()
    made = Training(place)
    made.forget()
    return made


def goes_on(training: Training, run: str, undisturbed: dict[str, Any]) -> None:
    """Hold that the run ends well from its newest checkpoint on, without the stages that were finished."""
    step = training.step()
    assert training.place.wait_for_state(run)["type"] == "COMPLETED"
    assert training.resumed_from(run)[-1] >= step > 0
    assert training.made() == undisturbed
    assert not training.children()


def cancel(training: Training, run: str, by: Callable[[str], object]) -> None:
    """Cancel a run whose training, however fast, has not ended when that reaches it, and hold that it is Cancelled."""
    child = training.child()
    with standing_still(child):
        by(run)
        wait_until("it is asked to stop", lambda: training.is_asked_to_stop(child))
    assert training.place.wait_for_state(run)["type"] == "CANCELLED"


def test_a_stage_that_failed_after_its_retries_goes_on_with_retry(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run, step = training.start(publish=True, retry__retries=1), 0
    for _ in range(2):
        step = training.wait_for_step(after=step)
        os.kill(training.child(), signal.SIGKILL)
    state = place.wait_for_state(run)
    assert state["type"] == "FAILED"
    assert "was killed by SIGKILL while it had to train" in state["message"]
    wait_until("what it said is sent", lambda: len(training.resumed_from(run)) == 1)

    place.retry(run)
    goes_on(training, run, undisturbed)
    outcomes = training.outcomes(run)
    assert outcomes["train"] == {"Failed", "Completed"}
    assert [outcomes[name] for name in BEFORE] == [{"Cached"}] * len(BEFORE)
    assert outcomes["publish"] == {"Completed"}


def test_a_retry_at_once_after_the_flow_s_process_was_killed_is_not_lost(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run = training.start()
    training.wait_for_step()
    killed = time.time()
    os.kill(place.flow_pid(run), signal.SIGKILL)
    state = place.wait_for_state(run)
    assert state["type"] == "CRASHED"
    assert stamp(state) - killed < TOLD_WITHIN_SECONDS
    place.retry(run)
    assert "RUNNING" not in place.task_states(run)
    goes_on(training, run, undisturbed)


def test_cancel_saves_a_checkpoint_and_retry_goes_on(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run = training.start()
    training.wait_for_step()
    cancel(training, run, by=lambda run: place.prefect("flow-run", "cancel", run))
    assert not training.children()
    place.retry(run)
    goes_on(training, run, undisturbed)


def test_a_training_does_not_care_that_the_server_is_away_and_can_be_cancelled_afterwards(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    """The outage is shortened, and so is what the worker and the flow give a server: they try nothing twice."""
    place.stop("worker")
    place.start_worker(**IMPATIENT)
    run = training.start()
    step = training.wait_for_step()
    server, worker = (place.process(what) for what in ("server", "worker"))
    os.kill(server.pid, signal.SIGKILL)
    for _ in range(3):
        step = training.wait_for_step(after=step)
    with standing_still(training.child()):  # until the server is back: that takes longer than the rest of the training
        wait_until(
            "Prefect's own worker would have given up",
            lambda: all(
                place.log("worker").count(f"the server cannot be asked for {what}") > times
                for what, times in GIVES_UP.items()
            ),
        )
        place.up()
        assert place.state(run)["type"] == "RUNNING"
        assert place.process("worker") == worker
        assert training.resumed_from(run) == []
        cancel(training, run, by=place.cancel)
    place.stop("worker")
    place.start_worker()  # as patient as ever
    place.retry(run)
    goes_on(training, run, undisturbed)


def test_a_run_outlives_its_worker(place: Place, training: Training, undisturbed: dict[str, Any]) -> None:
    run = training.start()
    training.wait_for_step()
    os.kill(place.process("worker").pid, signal.SIGKILL)
    told = place.log("worker").count("still goes on")
    with standing_still(training.child()):
        place.start_worker()
    assert place.log("worker").count("still goes on") == told + 1
    assert place.wait_for_state(run)["type"] == "COMPLETED"
    assert training.resumed_from(run) == []
    assert training.made() == undisturbed


def test_the_end_of_the_worker_s_service_lets_runs_save_and_retry_goes_on(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run, worker = training.start(), place.process("worker")
    training.wait_for_step()
    os.kill(worker.pid, signal.SIGTERM)
    wait_until("the worker has ended", lambda: not worker.is_alive())
    assert not training.children()
    state = place.state(run)
    assert (state["type"], state["message"]) == ("CRASHED", "Execution was aborted by a termination signal.")
    place.start_worker()
    place.retry(run)
    goes_on(training, run, undisturbed)


def test_after_all_was_killed_at_once_a_new_run_goes_on(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run = training.start()
    training.wait_for_step()
    processes = [place.process("server").pid, place.process("worker").pid, place.flow_pid(run), training.child()]
    for process in processes:
        os.kill(process, signal.SIGKILL)
    place.up()
    state = place.state(run)
    assert state["type"] == "CRASHED"
    assert "ended without a word (a killed worker, or the host went down)" in state["message"]
    goes_on(training, training.start(), undisturbed)


def test_a_training_that_hangs_is_stopped_and_tried_again(
    place: Place, training: Training, undisturbed: dict[str, Any]
) -> None:
    run = training.start(runtime__hang_seconds=HANG_SECONDS)
    training.wait_for_step()
    child = training.child()
    with standing_still(child):
        wait_until("it is asked to stop", lambda: training.is_asked_to_stop(child))
    # A minute later it would be killed.
    goes_on(training, run, undisturbed)
    assert f"sent no sign of life for {HANG_SECONDS:g} seconds and was stopped" in place.told(run)
