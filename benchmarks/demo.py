"""The demo from an empty folder, for several seeds: how long, and how well it reads what it has never seen.

    python -m benchmarks.demo

Each run is a process of its own with its own store and Prefect home. The seed is that of the made-up world and of
the training, so each run trains on other passages, in another order, and answers other questions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import RESULTS, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "demo.json"


def main() -> None:
    """Run the seeds in turn, print and write what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1984, 1985, 1986])
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(_run(seed, folder))
        print(runs[-1], flush=True)
    write_json(
        RESULT,
        {
            "runs": runs,
            "lowest_f1": min(run["f1"] for run in runs),
            "median_f1": statistics.median(run["f1"] for run in runs),
            "median_seconds": statistics.median(run["seconds"] for run in runs),
            **surroundings(("torch", "transformers", "numpy")),
        },
    )
    print(f"written to {RESULT}")


def _run(seed: int, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "podsquad", "run", "--profile", "demo", "--json"]
    command += ["--set", f"data.demo_seed={seed}", "--set", f"training.seed={seed}"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    return {
        "seed": seed,
        "exact_match": round(report["exact_match"], 2),
        "f1": round(report["f1"], 2),
        "seconds": report["seconds"],
        "stage_seconds": {stage["stage"]: stage["seconds"] for stage in report["stages"]},
    }


if __name__ == "__main__":
    main()
