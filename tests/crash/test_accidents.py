"""Killed while it mends what was damaged or replaces what was there, a run ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.accidents import ACCIDENTS
from tests.crash.command import KILLED, VERDICT, Command
from tests.crash.conftest import Undisturbed


@pytest.mark.parametrize("name", ACCIDENTS)
def test_a_run_killed_while_it_mends_ends_in_the_same_bytes(
    name: str, undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
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
