"""A night over the emulated IPU: killed at random instants, stopped, or resumed from a checkpoint of another order."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from tests.crash.command import KILLED
from tests.crash.held import Held, lives
from tests.crash.pod import MARKS, TRAINED, PodCommand
from tests.crash.random_kills import check, kill_at_random
from tests.crash.whole import Whole

pytestmark = MARKS


@pytest.fixture
def command(tmp_path: Path, prefect_server: str, pod_night: Whole) -> PodCommand:
    """A folder in which everything before the training is made."""
    made = PodCommand(tmp_path, prefect_server)
    made.copy_from(pod_night.store, "download", "tokenize", "compile")
    return made


def test_a_night_killed_at_random_instants_ends_in_the_same_bytes(
    pod_night: Whole, tmp_path: Path, prefect_server: str
) -> None:
    kill_at_random(PodCommand(tmp_path, prefect_server), pod_night.made, pod_night.seconds, kills=5)


def test_a_night_that_is_asked_to_stop_saves_and_ends_with_75(command: PodCommand, pod_night: Whole) -> None:
    held = Held(command)
    held.process.send_signal(signal.SIGTERM)
    held.wait("stopped")
    held.let_go()
    assert held.end() == 75, command.told()
    assert not lives(held.runtime)
    assert command.newest_checkpoint()
    assert "Traceback" not in command.whole_log()
    command.finish()
    assert "going on from the checkpoint of step" in command.whole_log()
    check(command, pod_night.made)


def test_a_checkpoint_of_other_questions_is_refused_by_its_step(command: PodCommand, pod_night: Whole) -> None:
    assert command.run(CRASH_AT=TRAINED) == KILLED, command.told()
    newest = sorted(command.store.glob("train/.work/*/checkpoints/step-*"))[-1]
    ledger = _rewrite_ledger(newest, "0" * 64)
    assert command.run() == 70
    step = int(newest.name.partition("-")[2])
    assert f"the checkpoint of step {step} consumed other questions" in command.whole_log()
    assert not list(command.store.glob("train/[0-9a-f]*"))
    _rewrite_ledger(sorted(command.store.glob("train/.work/*/checkpoints/step-*"))[-1], ledger)
    command.finish()
    check(command, pod_night.made)


def _rewrite_ledger(checkpoint: Path, ledger: str) -> str:
    """Put another ledger into a checkpoint that stays whole by its manifest; return the one it had."""
    state_file, manifest_file = checkpoint / "state.json", checkpoint / "manifest.json"
    state, manifest = json.loads(state_file.read_bytes()), json.loads(manifest_file.read_bytes())
    before: str = state["ledger"]
    state_file.write_text(json.dumps(state | {"ledger": ledger}))
    content = state_file.read_bytes()
    manifest["files"]["state.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest_file.write_text(json.dumps(manifest))
    return before
