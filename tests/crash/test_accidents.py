"""Killed while it mends what was damaged or replaces what was there, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.accidents import ACCIDENTS
from tests.crash.command import KILLED, TRAINED, VERDICT, Command
from tests.crash.whole import Whole


@pytest.mark.parametrize("name", ACCIDENTS)
def test_a_run_killed_while_it_mends_ends_in_the_same_bytes(
    name: str, undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    accident = ACCIDENTS[name]
    command = Command(tmp_path, prefect_server)
    command.copy_from(undisturbed.store, "download", "tokenize", "compile")
    if accident.begin:
        assert command.run(CRASH_AT=accident.begin) == KILLED, command.told()
    else:
        command.copy_from(undisturbed.store, "train", "evaluate")
        command.finish()
    accident.happen(command)
    for phase in ("before", "after"):
        places = [f"{stage} {accident.point} {phase}" for stage in ("train", "-")]
        assert command.run(CRASH_AT=",".join(places)) == KILLED, f"not killed {phase}:\n{command.told()}"
    command.finish()
    made = command.made()
    more = {name: made.pop(name) for name in set(made) - set(undisturbed.made) if name.startswith(VERDICT)}
    assert [name.split()[1] for name in more] == list(accident.verdicts)
    assert made == undisturbed.made
    assert accident.leaves or command.leftovers() == []


def test_a_refresh_that_is_killed_goes_on_when_the_same_command_is_started_again(
    undisturbed: Whole, tmp_path: Path, prefect_server: str
) -> None:
    command = Command(tmp_path, prefect_server)
    command.copy_from(undisturbed.store, "download", "tokenize", "compile", "train", "evaluate")
    assert command.run(refresh="train", CRASH_AT=TRAINED) == KILLED, command.told()
    command.finish()  # without --refresh: it takes what is there, and leaves the refresh to who goes on with it
    assert command.newest_checkpoint() == undisturbed.checkpoint
    assert command.run(refresh="train") == 0, command.told()
    (step,) = {name.partition("/")[0].partition("-")[2] for name in undisturbed.checkpoint}
    assert f"going on from the checkpoint of step {int(step)}" in command.whole_log()
    assert command.leftovers() == []
    made = command.made()
    assert {name: made[name] for name in undisturbed.made} == undisturbed.made
