"""One optimizer step on a CPU, and the memory it takes: podsquad against transformers' Trainer, which pads to 384.

    python -m benchmarks.training_step

64 sequences of real lengths, an encoder of 6 layers x 384 with roberta-base's vocabulary (step_contenders.py), float32
and bf16. Both step in one process, turn by turn; medians of the clock and of the processors. Before anything is timed,
gradients are held against those of the padded model with its padding masked. The Trainer's per-device batch is the
fastest of those tried; the rest of its step is gradient accumulation. Memory is measured apart: the largest resident
size of a process that does two steps, with that per-device batch and with the one that takes the least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.real_text import is_there, make_real_features
from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "training_step.json"
PRECISIONS = ("float32", "bfloat16")
PER_DEVICE = (4, 16)
LIBRARIES = ("torch", "transformers", "accelerate", "numpy")


def main() -> None:
    """Run, compare the gradients, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory-of", nargs=4, metavar=("NAME", "PRECISION", "PER_DEVICE", "FOLDER"))
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(_memory(*options.memory_of, threads=options.threads)))
        return
    if not is_there():
        raise SystemExit(
            "training_step needs real text: ../shared/data/squad and ../shared/data/roberta-base-tokenizer"
        )
    with tempfile.TemporaryDirectory() as folder:
        features = make_real_features(Path(folder) / "features")
        result = _measure(features, options.rounds, options.threads)
    write_json(RESULT, result)
    print(json.dumps(result, indent=2), f"\nwritten to {RESULT}")


def _measure(features: Path, rounds: int, threads: int) -> dict[str, Any]:
    import torch
    import transformers

    from benchmarks.step_contenders import NUM_SEQUENCES, gradient_differences, our_step, run_trainer

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    differences = gradient_differences(features)
    result: dict[str, Any] = {"threads": threads, "sequences": NUM_SEQUENCES, "gradients": differences}
    for precision in PRECISIONS:
        tried = {size: run_trainer(features, precision, size, num_steps=2)[-1] for size in PER_DEVICE}
        best = min(tried, key=lambda size: tried[size][0])
        ours, mine = our_step(features, precision), list[tuple[float, float]]()
        ours()
        between = partial(_append, mine, ours)
        theirs = run_trainer(features, precision, best, rounds + 1, between)
        times = Times()
        for their_step, my_step in zip(theirs[1:], mine[1:], strict=True):
            times.add("trainer", *their_step)
            times.add("podsquad", *my_step)
        processor = times.processor_medians()
        result[precision] = times.as_json() | {
            "times_faster": times.times_faster("trainer"),
            "times_less_processor_time": round(processor["trainer"] / processor["podsquad"], 2),
            "trainer_per_device": best,
            "trainer_seconds_by_per_device": {str(size): round(step[0], 2) for size, step in tried.items()},
            "peak_memory_mib": {
                name: _ask_memory(name, precision, size, features, threads)
                for name, size in (("podsquad", 0), ("trainer", best), ("trainer_least", min(PER_DEVICE)))
            },
        }
        print(precision, json.dumps(result[precision], indent=2), flush=True)
    return result | surroundings(LIBRARIES)


def _append(times: list[tuple[float, float]], step: Callable[[], tuple[float, float]]) -> None:
    times.append(step())


def _ask_memory(name: str, precision: str, per_device: int, features: Path, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.training_step", "--threads", str(threads)]
    command += ["--memory-of", name, precision, str(per_device), str(features)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    peak: float = json.loads(done.stdout.splitlines()[-1])["peak_resident_mib"]
    return peak


def _memory(name: str, precision: str, per_device: str, folder: str, *, threads: int) -> dict[str, float]:
    import torch

    from benchmarks.features import resident_mib
    from benchmarks.step_contenders import our_step, run_trainer

    torch.set_num_threads(threads)
    if name == "podsquad":
        step = our_step(Path(folder), precision)
        step()
        step()
    else:
        run_trainer(Path(folder), precision, int(per_device), num_steps=2)
    return {"peak_resident_mib": round(resident_mib("VmHWM"), 1)}


if __name__ == "__main__":
    main()
