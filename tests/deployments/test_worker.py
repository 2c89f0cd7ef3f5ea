"""Ends of a worker and of its runs, with real signals, and what the server shows afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from deployments.worker import GRACE_SECONDS
from tests.deployments.place import TOLD_WITHIN_SECONDS, Place, wait_until

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module", autouse=True)
def waits(place: Place) -> None:
    place.register_waits()


@pytest.fixture(autouse=True)
def with_worker(place: Place) -> None:
    place.ensure_up()


def test_a_second_sigterm_kills_runs_that_do_not_end(place: Place) -> None:
    waiting, worker = place.waiting("twice"), place.process("worker")
    (waiting.folder / "mute").touch()
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    words = "SIGTERM: no more runs are taken; 1 go on"
    earlier = place.log("worker").count(words)
    os.kill(worker.pid, signal.SIGTERM)
    wait_until("it says so", lambda: place.log("worker").count(words) > earlier)  # two at once would count as one
    os.kill(worker.pid, signal.SIGTERM)
    wait_until("the worker has ended", lambda: not worker.is_alive(), seconds=GRACE_SECONDS / 2)
    assert waiting.wait_until_ended() == "the process that started this one is gone"
    state = place.state(run)
    assert state["type"] == "CRASHED"
    assert "SIGKILL" in state["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "its terminal is closed"])
def test_what_ends_a_worker_in_a_terminal_lets_runs_save_as_well(place: Place, number: signal.Signals) -> None:
    waiting, worker = place.waiting(number.name), place.process("worker")
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    os.killpg(worker.pid, number)  # all that a terminal reaches
    assert waiting.wait_until_ended() == "SIGTERM received"
    wait_until("the worker has ended", lambda: not worker.is_alive())
    state = place.state(run)
    assert (state["type"], state["message"]) == ("CRASHED", "Execution was aborted by a termination signal.")


def test_a_run_killed_while_it_saves_goes_on(place: Place) -> None:
    """The worker's grace counts and not the 30 s of Prefect's: here it is shorter, and usually three times as long."""
    waiting = place.waiting("too-slow")
    (waiting.folder / "slow").write_text("10")
    place.stop("worker")
    place.start_worker("--grace-seconds", "1")
    run = place.start_run("free", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    place.cancel(run)
    assert place.wait_for_state(run)["type"] == "CANCELLED"
    assert set(place.task_states(run)) == {"CRASHED"}
    assert waiting.wait_until_ended() == "SIGTERM received"
    place.stop("worker")
    place.start_worker()
    place.retry(run)
    assert place.wait_for_state(run)["type"] == "COMPLETED"
    assert "goes on from SIGTERM received" in place.log("worker")


def test_runs_that_outlived_their_worker_are_minded_by_the_next(place: Place) -> None:
    names = ("cancelled", "killed", "kept")
    waiting = {name: place.waiting(name) for name in names}
    runs = {name: place.start_run("free", {"folder": str(waiting[name].folder)}) for name in names}
    for name in names:
        waiting[name].wait_until_begun()
    os.kill(place.process("worker").pid, signal.SIGKILL)
    place.start_worker()
    assert {place.state(run)["type"] for run in runs.values()} == {"RUNNING"}

    place.cancel(runs["cancelled"])
    assert waiting["cancelled"].wait_until_ended() == "SIGTERM received"
    place.wait_for_state(runs["cancelled"], ["Cancelled"])
    at = place.stamps(runs["cancelled"])
    assert at["Cancelled"] - at["Crashed"] < TOLD_WITHIN_SECONDS  # the flow itself says that first: it got SIGTERM
    os.kill(place.flow_pid(runs["killed"]), signal.SIGKILL)
    assert waiting["killed"].wait_until_ended() == "the process that started this one is gone"
    state = place.wait_for_state(runs["killed"])
    assert (state["type"], "ended without a word" in state["message"]) == ("CRASHED", True)
    assert set(place.task_states(runs["killed"])) == {"CRASHED"}
    assert place.state(runs["kept"])["type"] == "RUNNING"
    place.stop("worker")
    assert waiting["kept"].wait_until_ended() == "SIGTERM received"
    assert place.state(runs["kept"])["type"] == "CRASHED"


def test_a_run_that_outlived_its_worker_may_write_what_it_likes(place: Place) -> None:
    """A pipe to a worker that was killed is broken: one line of a progress bar would end the run."""
    waiting = place.waiting("speaks")
    run = place.start_run("speaks", {"folder": str(waiting.folder)})
    waiting.wait_until_begun()
    worker = place.process("worker")
    os.kill(worker.pid, signal.SIGKILL)
    wait_until("the worker has ended", lambda: not worker.is_alive())
    waiting.let_go_on()
    state = place.wait_for_state(run)
    assert (state["type"], state["message"]) == ("COMPLETED", None)
    for words in ("it is printed", "it is said as an error", "it is warned of", "it is counted: 100%"):
        assert words in place.log("worker")


def told(place: Place, run: str) -> str:
    """How a run is named on the page of another one."""
    return f"{place.call('GET', f'/flow_runs/{run}')['name']} ({run})"


def test_a_second_night_is_cancelled_with_a_reason_and_others_wait_for_their_turn(place: Place) -> None:
    first, second = place.waiting("first"), place.waiting("second")
    night, order = (place.start_run(name, {"folder": str(first.folder)}) for name in ("cancel", "queue"))
    for _ in range(2):
        first.wait_until_begun()
    late, queued = (place.start_run(name, {"folder": str(second.folder)}) for name in ("cancel", "queue"))
    state = place.wait_for_state(late)
    assert (state["type"], state["message"]) == ("CANCELLED", "Deployment concurrency limit reached.")
    wait_until("it says because of whom", lambda: f"is cancelled because of {told(place, night)}" in place.told(late))
    place.wait_for_state(queued, ["AwaitingConcurrencySlot"])
    wait_until("it says for whom it waits", lambda: f"waits for {told(place, order)}" in place.told(queued))
    for run in (night, order):
        os.kill(place.flow_pid(run), signal.SIGTERM)
        first.wait_until_ended()
    second.wait_until_begun()
    assert place.state(queued)["type"] == "RUNNING"
    place.cancel(queued)
    assert second.wait_until_ended() == "SIGTERM received"
    assert place.wait_for_state(queued)["type"] == "CANCELLED"
    assert place.told(queued).count("this run waits for") == 1
