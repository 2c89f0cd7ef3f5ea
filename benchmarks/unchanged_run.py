"""A whole ``podsquad run`` with nothing new: on the store that made the champion, and on one that is empty.

    python -m benchmarks.unchanged_run

Each is a process of its own with the same Prefect home, turn by turn; medians of wall time and of processor time. The
demo is run once before, in a temporary folder, and publishes the champion.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.cached_run import time_command
from benchmarks.timing import RESULTS, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "unchanged_run.json"
STORES = ("same_store", "empty_store")


def main() -> None:
    """Run both in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    run = [sys.executable, "-m", "podsquad", "run", "--profile", "demo", "--json"]
    wall: dict[str, list[float]] = {name: [] for name in STORES}
    processor: dict[str, list[float]] = {name: [] for name in STORES}
    with tempfile.TemporaryDirectory() as folder:
        report = json.loads(time_command(run, folder)[2])
        print(f"demo run before: {report['seconds']:.0f} s, F1 {report['f1']:.2f}")
        published = Path(folder, ".podsquad/published/demo-reader/current/model.safetensors")
        model_bytes = published.stat().st_size
        for number in range(options.rounds):
            empty = f"--set=store.path={folder}/empty-{number}"
            for name, command in zip(STORES, (run, [*run, empty]), strict=True):
                seconds, cpu_seconds, output = time_command(command, folder)
                told = json.loads(output)
                assert (told["verdict"]["verdict"], told["is_published"]) == ("unchanged", False), output
                assert len(told["stages"]) == (0 if name == "empty_store" else 6), output
                wall[name].append(round(seconds, 3))
                processor[name].append(round(cpu_seconds, 3))
    medians = {name: statistics.median(values) for name, values in wall.items()}
    write_json(
        RESULT,
        {
            "median_seconds": medians,
            "median_processor_seconds": {name: statistics.median(values) for name, values in processor.items()},
            "slowest_seconds": {name: max(values) for name, values in wall.items()},
            "rounds_seconds": wall,
            "model_bytes": model_bytes,  # a champion in a folder is read whole
            **surroundings(("prefect",)),
        },
    )
    print(f"{medians}\nwritten to {RESULT}")


if __name__ == "__main__":
    main()
