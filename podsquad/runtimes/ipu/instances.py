"""One program on several hosts: which instance this process is, and what only the first one does.

poprun starts the same command once per host by way of Open MPI. The first instance speaks for all: it hears the end of
its standard input, writes checkpoints and the output. Written from public documentation; never run on several hosts.
Runs on Python 3.8.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Instance:
    """One of ``count`` processes that train together; ``index`` counts from 0."""

    index: int
    count: int

    @classmethod
    def of_this_process(cls) -> Instance:
        """Return what Open MPI tells in the environment; one of one where nothing was started under it."""
        return cls(int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")), int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Tell whether this one writes what is kept."""
        return self.index == 0

    def configure(self, options: Any) -> None:
        """Let poptorch's options know of the other instances, which popdist arranges."""
        if self.count > 1:
            import popdist.poptorch

            popdist.poptorch.configureOptions(options)


def keep_standard_input() -> None:
    """Give every instance but the first a standard input that does not end: MPI passes on the parent's to that alone.

    Its end means "the parent is gone" (job.py).
    """
    if not Instance.of_this_process().is_first:
        reading, _ = os.pipe()
        os.dup2(reading, 0)
