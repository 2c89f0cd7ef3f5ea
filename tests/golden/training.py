"""A tiny training whose losses are held to the last bit, and the processors that they are held for.

    python -m tests.golden.training      train here and add this processor's kind to golden.json

The same program gives other last bits on another kind of processor: matrix products are cut up otherwise, and sums
come in another order. So golden.json holds one entry per kind and version of torch. Add one only where the losses are
near those of the others (the command refuses otherwise); change one only together with what changed the numbers, and
say so in CHANGELOG.md under "Numbers".
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import processor_kind
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.train import train_job
from podsquad.store.durable import write_json
from tests.runtimes.torch.made_up import Recorder, make_features, make_job, make_settings

GOLDEN_FILE = Path(__file__).with_name("golden.json")
CLOSE = 1e-5  # relative: what kinds of processors may differ by
TRAININGS: dict[str, dict[str, Any]] = {
    "packed": {},
    "padded": {"runtime__formulation": "padded"},
    "balanced": {"training__balanced": True, "training__max_gradient_norm": 1.0},
}


def train(folder: Path, name: str) -> dict[str, Any]:
    """Return losses (as float.hex gives them, so that no bit is lost) and the weights' SHA-256 of a training."""
    features = make_features(folder / "features")
    settings = make_settings(training__micro_batch_tokens=64, **TRAININGS[name])
    given = {"features": features, "executable": folder / "compile"}
    compile_job(make_job(folder, "compile", settings, features=features), Recorder(), StopRequest())  # type: ignore[arg-type]
    train_job(make_job(folder, "train", settings, **given), Recorder(), StopRequest())  # type: ignore[arg-type]
    history = [json.loads(line) for line in (folder / "train" / "history.jsonl").read_text().splitlines()]
    weights = (folder / "train" / "model" / "model.safetensors").read_bytes()
    return {
        "losses": [float(entry["loss"]).hex() for entry in history],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def this_kind() -> str:
    """Return what may alter last bits: torch's version and the processor's kind."""
    return f"torch {torch.__version__.partition('+')[0]}, {processor_kind()}"


def read_golden() -> dict[str, Any]:
    """Return what golden.json holds: by kind of processor, by training."""
    golden: dict[str, Any] = json.loads(GOLDEN_FILE.read_text(encoding="utf-8"))
    return golden


def largest_difference(losses: list[str], others: list[str]) -> float:
    """Return the largest relative difference between two lists of losses."""
    pairs = [(float.fromhex(one), float.fromhex(other)) for one, other in zip(losses, others, strict=True)]
    return max(abs(one - other) / abs(other) for one, other in pairs)


def main() -> None:
    """Train here and add this kind of processor."""
    golden = read_golden() if GOLDEN_FILE.exists() else {}
    found = {}
    for name in TRAININGS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = train(Path(folder), name)
        for kind, held in golden.items():
            difference = largest_difference(found[name]["losses"], held[name]["losses"])
            print(f"{name}: {difference:.1e} from {kind}")
            if difference > CLOSE:
                sys.exit(f"that is more than {CLOSE}: find out why before anything is added")
    write_json(GOLDEN_FILE, golden | {this_kind(): found})
    print(f"{GOLDEN_FILE} holds: {', '.join([*golden, this_kind()])}")


if __name__ == "__main__":
    main()
