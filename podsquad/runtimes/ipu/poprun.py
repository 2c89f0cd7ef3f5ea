"""The command line that starts the program on several hosts, one process each: Graphcore's poprun.

Written from poprun's public documentation; never run. Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podsquad.runtimes.ipu.pod import PodPlan

# What the published command lines of Graphcore's examples for several hosts pass on.
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OPAL_PREFIX")


def poprun_command(plan: PodPlan, ipu: Mapping[str, Any], *, offline: bool = False) -> list[str]:
    """Return poprun and its options, to stand before the program; empty where one host drives all IPUs.

    ``ipu`` is the settings' section. ``offline``: for a compilation, which attaches to no IPU. The events of the first
    instance alone are passed on; poprun marks lines with ``[1,0]<stdout>:``, which launch.py takes off.
    """
    if plan.num_hosts <= 1:
        return []
    command = ["poprun", "--num-instances", str(plan.num_hosts), "--num-replicas", str(plan.replication)]
    command += ["--ipus-per-replica", str(plan.ipus_per_replica), "--only-output-from-instance", "0"]
    # Open MPI passes no environment to other hosts of its own accord: where programs, modules and libraries are found.
    command.append("--mpi-local-args=" + " ".join("-x " + name for name in _PASSED_ON))
    if ipu["hosts"]:
        command += ["--host", ",".join(ipu["hosts"])]
    if ipu["partition"]:
        command += ["--vipu-partition", ipu["partition"]]
    if offline:
        command += ["--offline-mode", "1"]
    return command
