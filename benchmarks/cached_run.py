"""A whole ``podsquad run`` with every stage reused, against a Prefect flow of six empty tasks.

    python -m benchmarks.cached_run

Each is a process of its own with the same Prefect home and settings, turn by turn; medians of wall time and of
processor time. The demo is run once before, in a temporary folder, so that all six stages are there; --folder names
one in which ``benchmarks.demo`` ran it. Beside them a process that imports the flow's module and does nothing more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "cached_run.json"
# What podsquad sets for itself where nobody has: both get it, so that the peer imports nothing of podsquad's.
PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
RUN_DEMO = (sys.executable, "-m", "podsquad", "run", "--profile", "demo", "--json")
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
    """Run them in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the demo was run")
    options = parser.parse_args()
    commands = {
        "podsquad_run_cached": RUN_DEMO,
        "six_empty_tasks": (sys.executable, "-c", EMPTY_FLOW),
        "import_of_the_flow": (sys.executable, "-c", "import flows.retrain"),
    }
    times = Times()
    with folder_of_demo(options.folder) as folder:
        time_command(commands["import_of_the_flow"], folder)  # the first may compile what it imports
        for _ in range(options.rounds):
            for name, command in commands.items():
                seconds, processor_seconds, output = time_command(command, folder)
                times.add(name, seconds, processor_seconds)
                if name == "podsquad_run_cached":
                    assert all(stage["state"] == "reused" for stage in json.loads(output)["stages"]), output
    medians = times.medians()
    more = medians["podsquad_run_cached"] - medians["six_empty_tasks"]
    write_json(RESULT, times.as_json() | {"more_than_empty_seconds": more} | surroundings(("prefect",)))
    print(f"{medians}\na cached run takes {more:.2f} s more than six empty tasks\nwritten to {RESULT}")


@contextlib.contextmanager
def folder_of_demo(given: Path | None) -> Iterator[Path]:
    """Return a folder in which the demo was run: a temporary one, or that one, where what is there is reused."""
    if given is not None:
        given.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() if given is None else contextlib.nullcontext(given) as folder:
        report = json.loads(time_command(RUN_DEMO, Path(folder))[2])
        print(f"demo run before: {report['seconds']:.0f} s, F1 {report['f1']:.2f}", flush=True)
        yield Path(folder)


def time_command(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Run a command there; return its seconds by the clock and by the processors, and what it printed.

    Raises RuntimeError with what it told when it fails.
    """
    environ = {**os.environ, **PREFECT, "PREFECT_HOME": str(folder / "prefect")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environ, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{command} ended with exit code {done.returncode}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


if __name__ == "__main__":
    main()
