"""A whole ``podsquad run`` with every stage reused, against a Prefect flow of six empty tasks.

    python -m benchmarks.cached_run

Each is a process of its own with the same Prefect home and settings, turn by turn; medians of wall time and of
processor time. The demo is run once before, in a temporary folder, so that all six stages are there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import RESULTS, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "cached_run.json"
# What podsquad sets for itself where nobody has: both get it, so that the peer imports nothing of podsquad's.
PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
EMPTY_FLOW = """
from prefect import flow, task
@task
def empty(): return None
@flow
def six_empty_tasks():
    for _ in range(6):
        empty()
six_empty_tasks()
"""


def main() -> None:
    """Run both in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {
        "podsquad_run_cached": [sys.executable, "-m", "podsquad", "run", "--profile", "demo", "--json"],
        "six_empty_tasks": [sys.executable, "-c", EMPTY_FLOW],
    }
    wall: dict[str, list[float]] = {name: [] for name in commands}
    processor: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        report = json.loads(time_command(commands["podsquad_run_cached"], folder)[2])
        print(f"demo run before: {report['seconds']:.0f} s, F1 {report['f1']:.2f}")
        for _ in range(options.rounds):
            for name, command in commands.items():
                seconds, cpu_seconds, output = time_command(command, folder)
                wall[name].append(round(seconds, 3))
                processor[name].append(round(cpu_seconds, 3))
                if name == "podsquad_run_cached":
                    assert all(stage["state"] == "reused" for stage in json.loads(output)["stages"]), output
    medians = {name: statistics.median(values) for name, values in wall.items()}
    more = medians["podsquad_run_cached"] - medians["six_empty_tasks"]
    write_json(
        RESULT,
        {
            "median_seconds": medians,
            "median_processor_seconds": {name: statistics.median(values) for name, values in processor.items()},
            "more_than_empty_seconds": round(more, 3),
            "rounds_seconds": wall,
            **surroundings(("prefect",)),
        },
    )
    print(f"{medians}\na cached run takes {more:.2f} s more than six empty tasks\nwritten to {RESULT}")


def time_command(command: list[str], folder: str) -> tuple[float, float, str]:
    """Run a command there; return its seconds by the clock and by the processors, and what it printed."""
    environ = {**os.environ, **PREFECT, "PREFECT_HOME": str(Path(folder) / "prefect")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


if __name__ == "__main__":
    main()
