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

    def configure(self, options: Any, *, replicas: int, ipus_per_replica: int, attaches: bool) -> None:
        """Tell poptorch's options of the other instances: this one's share of all ``replicas``, its number, its IPUs.

        ``attaches`` is false for a compilation, which takes no IPUs. Sources: "Distributed execution without PopRun" in
        PopTorch's user guide (replicas of the process, its id), and PopDist's functions in PopRun's (the device that is
        its). popdist.poptorch.Options does all of it, but optimum-graphcore makes poptorch's own.
        """
        if self.count == 1:
            return
        options.replicationFactor(replicas // self.count)
        options.Distributed.configureProcessId(self.index, self.count)
        if attaches:
            import popdist

            options.useIpuId(popdist.getDeviceId(ipus_per_replica))


def keep_standard_input() -> None:
    """Give every instance but the first a standard input that does not end: MPI passes on the parent's to that alone.

    Its end means "the parent is gone" (job.py).
    """
    if not Instance.of_this_process().is_first:
        reading, _ = os.pipe()
        os.dup2(reading, 0)
