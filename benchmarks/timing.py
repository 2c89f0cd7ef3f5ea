"""What the benchmarks share: turn-by-turn timing, and a result file that names machine and versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from podsquad.store.durable import write_json


def compare(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each contender once per round, in turn, and return its seconds per round.

    Turns share whatever else the machine does; each contender ran once before, when its result was checked.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def write_result(
    path: Path, seconds: Mapping[str, Sequence[float]], facts: Mapping[str, Any], libraries: Sequence[str]
) -> None:
    """Print the medians; write them with every round, the ratios to podsquad's, machine and versions."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: round(median / medians["podsquad"], 1) for name, median in medians.items() if name != "podsquad"}
    result = {
        "facts": dict(facts),
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "times_podsquad": ratios,
        "rounds_seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
        "machine": machine(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in libraries},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    for name, value in medians.items():
        note = f"   {ratios[name]:.1f} x podsquad's time" if name in ratios else ""
        print(f"{name:20} {value:9.4f} s{note}")
    print(f"facts: {dict(facts)}\nwritten to {path}")


def machine() -> dict[str, Any]:
    """Return the processor's name and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # no Linux: the general name has to do
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "system": platform.system()}
