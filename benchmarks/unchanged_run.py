"""A whole ``podsquad run`` with nothing new: on the store that made the champion, and on one that is empty.

    python -m benchmarks.unchanged_run

Each is a process of its own with the same Prefect home, turn by turn; medians of wall time and of processor time. The
demo is run once before, in a temporary folder, and publishes the champion; --folder names one in which
``benchmarks.demo`` ran it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.cached_run import RUN_DEMO, folder_of_demo, time_command
from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "unchanged_run.json"
STORES = ("same_store", "empty_store")


def main() -> None:
    """Run both in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the demo was run")
    options = parser.parse_args()
    times = Times()
    with folder_of_demo(options.folder) as folder:
        published = folder / ".podsquad/published/demo-reader/current/model.safetensors"
        model_bytes = published.stat().st_size
        for number in range(options.rounds):
            empty = f"--set=store.path={folder}/empty-{number}"
            for name, command in zip(STORES, (RUN_DEMO, [*RUN_DEMO, empty]), strict=True):
                seconds, processor_seconds, output = time_command(command, folder)
                told = json.loads(output)
                assert (told["verdict"]["verdict"], told["is_published"]) == ("unchanged", False), output
                assert len(told["stages"]) == (0 if name == "empty_store" else 6), output
                times.add(name, seconds, processor_seconds)
    found = {"model_bytes": model_bytes}  # a champion in a folder is read whole
    write_json(RESULT, times.as_json() | found | surroundings(("prefect",)))
    print(f"{times.medians()}\nwritten to {RESULT}")


if __name__ == "__main__":
    main()
