"""The five drills: each does one thing to a tiny run, lets the next one recover, and looks at what came of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podsquad.data.demo import ENCODER_FOLDER
from podsquad.drill.deployment import CHECKPOINT_STEPS, OWNER, Deployment, Run
from podsquad.drill.hub_server import Fault, HubServer
from podsquad.errors import DiskFullError, InternalError, LeaseLostError
from podsquad.store.artifacts import lease_lost

_TOKENIZER = f"{OWNER}/tokenizer"
_LEASE_SECONDS = 3
_FULL_KIBIBYTES = 64  # less than a checkpoint of the drill's model
_NUM_FAILED = 3


@dataclass(frozen=True)
class Outcome:
    """What a drill came to."""

    name: str
    done: str
    """What was done to the run."""
    lost_steps: int
    """Steps of training that had to be done again, at most."""
    recovery_seconds: float
    """How long the run took that recovered."""
    faults: tuple[str, ...]
    """What is not as it should be; empty: passed."""

    @property
    def passed(self) -> bool:
        """Tell whether nothing was lost that should not be."""
        return not self.faults


Drill = Callable[[Deployment, str, Callable[[], None]], Outcome]
"""``between`` is called when the harm is done, before the recovery: tests do more harm there."""


def kill(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Kill the run and its runtime in mid-training."""
    newest = _killed(place, "kill")
    between()
    recovery, faults = _recover(place, whole, "kill")
    faults += _gone_on_from(place, newest)
    lost = newest + CHECKPOINT_STEPS - _resumed(place)
    return Outcome("kill", f"SIGKILL after the checkpoint of step {newest}", lost, recovery.seconds, tuple(faults))


def truncate_checkpoint(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Kill the run, and cut its newest checkpoint short."""
    _killed(place, "truncate-checkpoint")
    *_, before, last = place.checkpoints()
    weights = last / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    between()
    recovery, faults = _recover(place, whole, "truncate-checkpoint")
    faults += _gone_on_from(place, _step(before))
    lost = _step(last) + CHECKPOINT_STEPS - _resumed(place)
    done = f"SIGKILL, and half of the checkpoint of step {_step(last)} cut off"
    return Outcome("truncate-checkpoint", done, lost, recovery.seconds, tuple(faults))


def full_disk(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Let the runtime write no file above a size, as on a full disk."""
    python = place.scratch / "python"
    python.write_text(f'#!/bin/sh\nulimit -f {_FULL_KIBIBYTES}\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    place.forget("train")
    run = place.start("full-disk", runtime__python=str(python))
    faults = _ends_with(run, DiskFullError.exit_code)
    between()
    recovery, more = _recover(place, whole, "full-disk")
    done = f"no room for a file above {_FULL_KIBIBYTES} KiB in the training"
    lost = CHECKPOINT_STEPS - _resumed(place)  # none is saved: it may have come as far as its first checkpoint
    return Outcome("full-disk", done, lost, recovery.seconds, tuple(faults + more))


def stale_lease(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Stop the run's processes, let another one take over, and wake them."""
    place.forget("train")
    run = place.start("stale-lease", store__lease_seconds=str(_LEASE_SECONDS))
    place.wait_for_checkpoint(run, 2)
    run.send(signal.SIGSTOP)
    newest = _newest(place)  # by now: it went on while it was looked at
    between()
    recovery, faults = _recover(place, whole, "stale-lease", store__lease_seconds=str(_LEASE_SECONDS))
    faults += _gone_on_from(place, newest)
    lost = newest + CHECKPOINT_STEPS - _resumed(place)
    seconds = recovery.seconds
    run.send(signal.SIGCONT)
    faults += _ends_with(run, LeaseLostError.exit_code)
    if lease_lost("train", place.keys()["train"]).what not in run.log.read_text(encoding="utf-8", errors="replace"):
        faults.append("the process that woke did not say that its right to build is lost")
    if place.digest("train") != whole:
        faults.append("the process that woke changed the model")
    return Outcome("stale-lease", f"SIGSTOP after the checkpoint of step {newest}", lost, seconds, tuple(faults))


def hub_500(place: Deployment, whole: str, between: Callable[[], None]) -> Outcome:
    """Fetch the tokenizer from a Hub on this machine that fails at first."""
    with HubServer({_TOKENIZER: ENCODER_FOLDER}) as hub:
        hub.fail(Fault("status", 500, times=_NUM_FAILED))
        between()
        environ = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(place.scratch / "hub"), "HF_HUB_OFFLINE": "0"}
        run = place.start("hub-500", environ, features__tokenizer=_TOKENIZER, features__tokenizer_revision="1" * 40)
        faults = _ends_with(run, 0)
        seconds, num_met = run.seconds, hub.num_met
    if num_met < _NUM_FAILED:
        faults.append(f"the Hub was asked {num_met} times, not {_NUM_FAILED}")
    return Outcome("hub-500", f"the Hub answered 500 to the first {_NUM_FAILED} requests", 0, seconds, tuple(faults))


DRILLS: dict[str, Drill] = {
    "kill": kill,
    "full-disk": full_disk,
    "hub-500": hub_500,
    "truncate-checkpoint": truncate_checkpoint,
    "stale-lease": stale_lease,
}


def undisturbed(place: Deployment) -> str:
    """Make the drill's artifacts without any harm; return the digest of its model, which each recovery must reach.

    Empty when that run failed.
    """
    return "" if _ends_with(place.start("undisturbed"), 0) else place.digest("train")


def _killed(place: Deployment, name: str) -> int:
    """Kill a training that has some checkpoints; return the step of the newest."""
    place.forget("train")
    run = place.start(name)
    place.wait_for_checkpoint(run, 3)
    run.send(signal.SIGKILL)
    run.end()
    return _newest(place)


def _newest(place: Deployment) -> int:
    """Return the step of the newest checkpoint of a training under way."""
    if found := place.checkpoints():
        return _step(found[-1])
    raise InternalError(
        "the drill's training was over before anything could be done to it",
        why="it takes a second or two, and this machine was busy with something else",
        do="run the same again when less runs on this machine",
    )


def _recover(place: Deployment, whole: str, name: str, **changes: str) -> tuple[Run, list[str]]:
    run = place.start(f"{name}, recovery", None, **changes)
    faults = _ends_with(run, 0)
    if not faults and place.digest("train") != whole:
        faults.append("the model is another one than that of an undisturbed run")
    if left := place.leftovers():
        faults.append("left behind: " + ", ".join(path.name for path in left[:3]))
    return run, faults


def _ends_with(run: Run, exit_code: int) -> list[str]:
    found = run.end()
    return [] if found == exit_code else [f"the run ended with {found}, not {exit_code}: {run.told()}"]


def _gone_on_from(place: Deployment, step: int) -> list[str]:
    found = _resumed(place)
    return [] if found >= step else [f"the training went on from step {found}, though step {step} was saved"]


def _resumed(place: Deployment) -> int:
    try:
        return place.resumed_from()
    except (OSError, KeyError, ValueError):
        return 0


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
