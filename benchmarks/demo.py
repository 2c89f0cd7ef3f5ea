"""The demo from an empty folder, for several seeds: how long, and how well it reads what it has never seen.

    python -m benchmarks.demo

Each run is a process of its own with its own store and Prefect home. The seed is that of the made-up world and of
the training, so each run trains on other passages, in another order, and answers other questions. --folder keeps the
run of the first seed, which is the profile's own, for ``benchmarks.cached_run`` and ``benchmarks.unchanged_run``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cached_run import RUN_DEMO, time_command
from benchmarks.timing import RESULTS, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "demo.json"
SEEDS = (1984, 1985, 1986)


def main() -> None:
    """Run the seeds in turn, print and write what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--folder", type=Path, help="a new folder, in which the first seed's run stays")
    options = parser.parse_args()
    if options.folder is not None:
        if options.folder.exists():
            parser.error(f"{options.folder} is there, and what it holds would be reused: name a new folder")
        options.folder.mkdir()
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        keeps = options.folder is not None and not runs
        with contextlib.nullcontext(options.folder) if keeps else tempfile.TemporaryDirectory() as folder:
            runs.append(_run(seed, Path(folder)))
        print(runs[-1], flush=True)
    write_json(
        RESULT,
        {
            "runs": runs,
            "lowest_f1": min(run["f1"] for run in runs),
            "median_f1": statistics.median(run["f1"] for run in runs),
            "median_seconds": statistics.median(run["seconds"] for run in runs),
            "median_processor_seconds": statistics.median(run["processor_seconds"] for run in runs),
            **surroundings(("torch", "transformers", "numpy", "prefect")),
        },
    )
    print(f"written to {RESULT}")


def _run(seed: int, folder: Path) -> dict[str, Any]:
    command = [*RUN_DEMO, f"--set=data.demo_seed={seed}", f"--set=training.seed={seed}"]
    seconds, processor_seconds, output = time_command(command, folder)
    report = json.loads(output)
    assert all(stage["state"] == "ran" for stage in report["stages"]), output
    return {
        "seed": seed,
        "exact_match": round(report["exact_match"], 2),
        "f1": round(report["f1"], 2),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "stage_seconds": {stage["stage"]: stage["seconds"] for stage in report["stages"]},
    }


if __name__ == "__main__":
    main()
