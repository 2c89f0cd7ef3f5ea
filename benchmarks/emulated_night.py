"""The profile pod16-emulated from an empty folder: six stages of the POD16's plan on this machine's cores.

    python -m benchmarks.emulated_night

It needs the IPU program's environment (``make ipu-env``); PODSQUAD_RUNTIME__PYTHON names another interpreter. The times
are this machine's, never an IPU's.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import RESULTS, surroundings
from podsquad.evaluation.report import read_history
from podsquad.store.durable import write_json

ROOT = Path(__file__).resolve().parents[1]
IPU_PYTHON = Path(os.environ.get("PODSQUAD_RUNTIME__PYTHON") or ROOT / ".venv-ipu/bin/python")
RESULT = RESULTS / "emulated_night.json"
_MEAN_OF_STEPS = 8  # losses at the start and at the end are means of as many


def main() -> None:
    """Run the night once, print and write what came of it."""
    command = [sys.executable, "-m", "podsquad", "run", "--profile", "pod16-emulated", "--json"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PODSQUAD_RUNTIME__PYTHON": str(IPU_PYTHON)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE, text=True)
        report = json.loads(done.stdout)
        paths = {stage["stage"]: Path(stage["path"]) for stage in report["stages"]}
        losses = [entry["loss"] for entry in read_history(paths["train"])]
        training = json.loads((paths["train"] / "training.json").read_text(encoding="utf-8"))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "emulated": report["emulated"],
        "seconds": report["seconds"],
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "stage_seconds": {stage["stage"]: stage["seconds"] for stage in report["stages"]},
        "f1": round(report["f1"], 2),
        "exact_match": round(report["exact_match"], 2),
        "first_loss": sum(losses[:_MEAN_OF_STEPS]) / _MEAN_OF_STEPS,
        "last_loss": sum(losses[-_MEAN_OF_STEPS:]) / _MEAN_OF_STEPS,
        "steps": training["steps"],
        "pod": training["pod"],
        "runtime_versions": training["versions"],
        **surroundings(("prefect", "numpy")),
    }
    write_json(RESULT, result)
    print(f"emulated: {result['seconds']:.0f} s, F1 {result['f1']}\nwritten to {RESULT}")


if __name__ == "__main__":
    main()
