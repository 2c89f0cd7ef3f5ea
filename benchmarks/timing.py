"""What the benchmarks share: turn-by-turn timing, and a result file that names machine and versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podsquad.store.durable import write_json

# Where results are written and read; a try-out goes elsewhere.
RESULTS = Path(os.environ.get("PODSQUAD_RESULTS") or Path(__file__).parent / "results")
_TOLD_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "sve", "bf16")
BUSY_CORES = 0.1  # of each core: what others may use of it on a machine that counts as idle


@dataclass
class Times:
    """Seconds per round of each contender: by the clock, and of the processors (all threads of this process)."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor_seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float, processor_seconds: float) -> None:
        """Add a round of a contender."""
        self.seconds.setdefault(name, []).append(seconds)
        self.processor_seconds.setdefault(name, []).append(processor_seconds)

    def scale(self, name: str, factor: float) -> None:
        """Multiply a contender's times, of which a part was run."""
        for times in (self.seconds, self.processor_seconds):
            times[name] = [value * factor for value in times[name]]

    def medians(self) -> dict[str, float]:
        """Return each contender's median seconds."""
        return {name: statistics.median(values) for name, values in self.seconds.items()}

    def processor_medians(self) -> dict[str, float]:
        """Return each contender's median processor seconds."""
        return {name: statistics.median(values) for name, values in self.processor_seconds.items()}

    def times_faster(self, peer: str, ours: str = "podsquad") -> float:
        """Return by how much ``ours`` is ahead of ``peer``, in median seconds."""
        return self.medians()[peer] / self.medians()[ours]

    def times_less_processor_time(self, peer: str, ours: str = "podsquad") -> float:
        """Return how many times ``ours``'s median processor seconds ``peer`` takes."""
        return self.processor_medians()[peer] / self.processor_medians()[ours]

    def as_json(self) -> dict[str, Any]:
        """Return the medians as they are, since marks are held against them, and every round, rounded."""
        return {
            "median_seconds": self.medians(),
            "median_processor_seconds": self.processor_medians(),
            "rounds_seconds": {name: [round(value, 4) for value in values] for name, values in self.seconds.items()},
        }


def compare(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Time each contender once per round, in turn.

    Turns share whatever else the machine does; each contender ran once before, when its result was checked.
    """
    times = Times()
    for _ in range(rounds):
        for name, run in contenders.items():
            begin, processor_begin = time.perf_counter(), time.process_time()
            run()
            times.add(name, time.perf_counter() - begin, time.process_time() - processor_begin)
    return times


def write_result(path: Path, times: Times, facts: Mapping[str, Any], libraries: Sequence[str]) -> None:
    """Print the medians; write them with every round, the ratios to podsquad's, machine and versions."""
    medians = times.medians()
    ratios = {name: times.times_faster(name) for name in medians if name != "podsquad"}
    result = {
        "facts": dict(facts),
        **times.as_json(),
        "times_podsquad": ratios,
        "times_podsquad_processor_time": {name: times.times_less_processor_time(name) for name in ratios},
        **surroundings(libraries),
    }
    write_json(path, result)
    for name, value in medians.items():
        note = f"   {ratios[name]:.1f} x podsquad's time" if name in ratios else ""
        print(f"{name:20} {value:9.4f} s{note}")
    print(f"facts: {dict(facts)}\nwritten to {path}")


def surroundings(libraries: Sequence[str]) -> dict[str, Any]:
    """Return machine and versions, as every result names them."""
    versions = {name: importlib.metadata.version(name) for name in libraries}
    return {"machine": machine(), "versions": {"python": platform.python_version()} | versions}


def machine() -> dict[str, Any]:
    """Return the processor's name and kind, how many of its cores this process may use, and what others used meanwhile.

    ``kind``: see ``processor_kind``; a virtual machine may give processors of several kinds the same name.
    ``others_used_cores``: the cores that processes other than this one and its children kept busy, on average since
    this one began; None where the kernel does not tell. ``was_busy``: whether that was more than a tenth of each core.
    """
    cores = len(os.sched_getaffinity(0))
    others = _others_used_cores()
    return {
        "processor": _cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "kind": processor_kind(),
        "cores": cores,
        "system": platform.system(),
        "others_used_cores": others,
        "was_busy": None if others is None else others > BUSY_CORES * cores,
    }


def processor_kind() -> str:
    """Return the processor's vendor, family and model, and which of the instructions that matter here it has.

    What libraries choose their code by: on another kind times and the last bits of a sum are others.
    """
    cpu = _cpuinfo()
    has = cpu.get("flags", cpu.get("Features", "")).split()
    parts = [cpu.get("vendor_id", cpu.get("CPU implementer", "unknown"))]
    parts += [f"family {cpu.get('cpu family', cpu.get('CPU part', '?'))}", f"model {cpu.get('model', '?')}"]
    return " ".join([*parts, *(flag for flag in _TOLD_FLAGS if flag in has)])


def _cpuinfo() -> dict[str, str]:
    """Return what the kernel tells of the first core; nothing where it is not Linux."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def _others_used_cores() -> float | None:
    busy, own, now = _busy_seconds(), _own_seconds(), time.monotonic()
    if busy is None or _BUSY_BEFORE is None:
        return None
    return max(0.0, round((busy - _BUSY_BEFORE - (own - _OWN_BEFORE)) / max(now - _BEGAN, 1e-9), 2))


def _busy_seconds() -> float | None:
    """Return the seconds that all cores spent on any process, or that the hypervisor gave to another machine."""
    try:
        numbers = map(int, Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9])
        user, nice, system, _, _, irq, soft, stolen = numbers
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


_BUSY_BEFORE, _OWN_BEFORE, _BEGAN = _busy_seconds(), _own_seconds(), time.monotonic()
