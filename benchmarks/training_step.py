"""One optimizer step on a CPU, and the memory it takes: podsquad against transformers' Trainer, which pads to 384.

    python -m benchmarks.training_step

64 sequences of real lengths, an encoder of 6 layers x 384 with roberta-base's vocabulary (step_contenders.py), float32
and bf16. Both step in one process, turn by turn; medians of the clock and of the processors. Before anything is timed,
gradients are held against those of the padded model with its padding masked. The Trainer's per-device batch is the
fastest of those tried, by the median of two steps each; the rest of its step is gradient accumulation. Memory is
measured apart: the largest resident size of a process that does two steps, with that per-device batch, whose time is
compared, and with the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.real_text import add_text_option, make_real_features, need_text
from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "training_step.json"
PRECISIONS = ("float32", "bfloat16")
PER_DEVICE = (4, 8, 16)  # 8 is transformers' default
TRIED_STEPS = 2  # of each, after one that lays out memory
LIBRARIES = ("torch", "transformers", "accelerate", "numpy")


def main() -> None:
    """Run, compare the gradients, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    add_text_option(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--as-before",
        action="store_true",
        help="take the Trainer's per-device batch that was fastest in the result's file",
    )
    parser.add_argument("--memory-of", nargs=4, metavar=("NAME", "PRECISION", "PER_DEVICE", "FOLDER"))
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(_memory(*options.memory_of, threads=options.threads)))
        return
    need_text(options.text)
    with tempfile.TemporaryDirectory() as folder:
        features = make_real_features(Path(folder) / "features", *options.text)
        before = json.loads(RESULT.read_text(encoding="utf-8")) if options.as_before else {}
        result = _measure(features, options.rounds, options.threads, before)
    write_json(RESULT, result)
    print(json.dumps(result, indent=2), f"\nwritten to {RESULT}")


def _measure(features: Path, rounds: int, threads: int, before: dict[str, Any]) -> dict[str, Any]:
    import torch
    import transformers

    from benchmarks.step_contenders import NUM_SEQUENCES, gradient_differences, our_step, run_trainer

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    differences = gradient_differences(features)
    result: dict[str, Any] = {"threads": threads, "sequences": NUM_SEQUENCES, "gradients": differences}
    for precision in PRECISIONS:
        if before:
            tried = before[precision]["trainer_seconds_by_per_device"]
        else:
            tried = {str(size): _try(features, precision, size) for size in PER_DEVICE}
        best = int(min(tried, key=lambda size: tried[size]))
        ours, mine = our_step(features, precision), list[tuple[float, float]]()
        ours()
        between = partial(_append, mine, ours)
        theirs = run_trainer(features, precision, best, rounds + 1, between)
        times = Times()
        for their_step, my_step in zip(theirs[1:], mine[1:], strict=True):
            times.add("trainer", *their_step)
            times.add("podsquad", *my_step)
        result[precision] = times.as_json() | {
            "times_faster": times.times_faster("trainer"),
            "times_less_processor_time": times.times_less_processor_time("trainer"),
            "trainer_per_device": best,
            "trainer_seconds_by_per_device": tried,
            "per_device_was_tried_before": bool(before),
            "peak_memory_mib": _peaks(precision, best, features, threads),
        }
        print(precision, json.dumps(result[precision], indent=2), flush=True)
    return result | surroundings(LIBRARIES)


def _try(features: Path, precision: str, per_device: int) -> float:
    """Return the Trainer's median seconds of a step with that per-device batch."""
    from benchmarks.step_contenders import run_trainer

    steps = run_trainer(features, precision, per_device, num_steps=1 + TRIED_STEPS)
    return statistics.median(seconds for seconds, _ in steps[1:])


def _append(times: list[tuple[float, float]], step: Callable[[], tuple[float, float]]) -> None:
    times.append(step())


def _peaks(precision: str, best: int, features: Path, threads: int) -> dict[str, float]:
    """Return podsquad's peak, and the Trainer's: with its fastest per-device batch, and with the smallest."""
    sizes = {size: _ask_memory("trainer", precision, size, features, threads) for size in {best, min(PER_DEVICE)}}
    mine = _ask_memory("podsquad", precision, 0, features, threads)
    return {"podsquad": mine, "trainer": sizes[best], "trainer_least": sizes[min(PER_DEVICE)]}


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
    return {"peak_resident_mib": resident_mib("VmHWM")}


if __name__ == "__main__":
    main()
