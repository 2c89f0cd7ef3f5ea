"""What a run makes that nobody kills, and two runs at a time for what is compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.crash.command import Command
from tests.crash.held import Held


class Whole:
    """What a run makes that nobody kills, the places it comes to, its last checkpoint, and how long it takes.

    It stands for a moment where its training is done, and the checkpoint is looked at there.
    """

    def __init__(self, command: Command) -> None:
        started = time.monotonic()
        held = Held(command, place=command.trained)
        self.checkpoint = command.newest_checkpoint()
        names = {name.rpartition("/")[2] for name in self.checkpoint}
        assert "model.safetensors" in names
        assert any(name.startswith("optimizer") for name in names), names
        held.let_go()
        assert held.end() == 0, command.told()
        self.seconds = time.monotonic() - started
        command.check_secrets()
        self.store, self.made, self.places = command.store, command.made(), command.places()


def in_two_chains(chain: Callable[[int], None]) -> None:
    """Call ``chain`` with 0 and with 1, both at a time, and return when both are done."""
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(chain, number) for number in (0, 1)]:
            future.result()
