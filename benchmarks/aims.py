"""What podsquad wants to reach: the rows of the table, their marks, and how the results files answer them.

Marks are held against what was found as it is; it is rounded when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """What was found: the figure by the clock, by the processors' time where that was measured, and whether it does.

    ``count``: how many of the row's things there were; None where the row counts none.
    """

    clock: str
    processor: str
    is_reached: bool
    count: int | None = None


@dataclass(frozen=True)
class Aim:
    """A row: what is done, against whom, the mark, and how the result of ``benchmarks.<module>`` answers it.

    A "#" in ``work`` stands for the number that was found.
    """

    work: str
    peer: str
    mark: str
    module: str
    read: Callable[[Mapping[str, Any]], Figure]


def _times(clock: float, processor: float, least: float, *also: bool, count: int | None = None) -> Figure:
    return Figure(f"{clock:.2f} x", f"{processor:.2f} x", min(clock, processor) >= least and all(also), count)


def _features(part: str) -> Callable[[Mapping[str, Any]], Figure]:
    def read(result: Mapping[str, Any]) -> Figure:
        found = result["one_core"][part]  # whose features are identical: the program ends where one is not
        return _times(found["times_faster"], found["times_less_processor_time"], 12, count=found["num_features"])

    return read


def _two_cores(result: Mapping[str, Any]) -> Figure:
    found = result["two_cores"]
    more = f"{1 / found['times_less_processor_time']:.2f} x"
    clock = found["times_faster"]
    return Figure(f"{clock:.2f} x", f"takes {more}", clock > 1, found["num_features"])


def _answers(result: Mapping[str, Any]) -> Figure:
    name, facts = "run_qa_restated", result["facts"]
    clock, processor = result["times_podsquad"][name], result["times_podsquad_processor_time"][name]
    return _times(clock, processor, 15, facts["identical_answers"] == facts["questions"], count=facts["questions"])


def _metric(result: Mapping[str, Any]) -> Figure:
    name = "torchmetrics"
    clock, processor = result["times_podsquad"][name], result["times_podsquad_processor_time"][name]
    facts = result["facts"]
    return _times(clock, processor, 5, facts["equal_to_official"], count=facts["questions"])


def _step(precision: str, least: float) -> Callable[[Mapping[str, Any]], Figure]:
    def read(result: Mapping[str, Any]) -> Figure:
        found, gradients = result[precision], result["gradients"]
        are_equal = max(gradients.values()) <= 1e-5
        return _times(found["times_faster"], found["times_less_processor_time"], least, are_equal)

    return read


def _memory(precision: str) -> Callable[[Mapping[str, Any]], Figure]:
    def read(result: Mapping[str, Any]) -> Figure:
        found = result[precision]["peak_memory_mib"]
        mine, theirs, least = found["podsquad"], found["trainer"], found["trainer_least"]
        told = f"{mine:,.0f} of {theirs:,.0f} MiB ({least:,.0f} at its smallest batch)"
        return Figure(told, "", mine <= theirs)

    return read


def _start(result: Mapping[str, Any]) -> Figure:
    seconds, processor = result["median_seconds"], result["median_processor_seconds"]
    shares = [times["second_time"] / times["first_time"] for times in (seconds, processor)]
    return Figure(f"{shares[0]:.1%}", f"{shares[1]:.1%}", max(shares) < 1 / 5)


def _cached(result: Mapping[str, Any]) -> Figure:
    processor = result["median_processor_seconds"]
    more = processor["podsquad_run_cached"] - processor["six_empty_tasks"]
    clock = result["more_than_empty_seconds"]
    return Figure(f"{clock:+.2f} s", f"{more:+.2f} s", max(clock, more) <= 1)


def _import(result: Mapping[str, Any]) -> Figure:
    name = "import_of_the_flow"
    clock, processor = result["median_seconds"][name], result["median_processor_seconds"][name]
    return Figure(f"{clock:.2f} s", f"{processor:.2f} s", clock < 2)


def _unchanged(store: str) -> Callable[[Mapping[str, Any]], Figure]:
    def read(result: Mapping[str, Any]) -> Figure:
        clock, processor = result["median_seconds"][store], result["median_processor_seconds"][store]
        return Figure(f"{clock:.1f} s", f"{processor:.1f} s", clock < 10)

    return read


def _demo(result: Mapping[str, Any]) -> Figure:
    clock, processor = result["median_seconds"], result["median_processor_seconds"]
    return Figure(f"{clock:.0f} s", f"{processor:.0f} s", all(run["seconds"] < 180 for run in result["runs"]))


def _emulated(result: Mapping[str, Any]) -> Figure:
    seconds, processor = result["seconds"], result["processor_seconds"]
    is_the_plan = (result["pod"]["num_ipus"], result["pod"]["gradient_accumulation"]) == (16, 16)
    has_learned = result["last_loss"] < result["first_loss"] / 3
    return Figure(f"{seconds:.0f} s", f"{processor:.0f} s", seconds < 300 and is_the_plan and has_learned)


# torchmetrics adds up in float32.
_METRIC_MARK = "5 x, equal to the official program"
_RUN_QA, _TRAINER = "run_qa.py through `datasets.map`", "transformers' Trainer, padded to 384"
AIMS = (
    Aim("text to # features, one core, real text", _RUN_QA, "12 x, identical", "features", _features("real")),
    Aim("the same, # of that text with new words", _RUN_QA, "12 x, identical", "features", _features("grown")),
    Aim("the same, #, two cores", "podsquad on one core", "faster", "features", _two_cores),
    Aim("logits to answers, # questions", "run_qa.py, restated", "15 x, identical", "answers", _answers),
    Aim("exact match and F1, # questions", "torchmetrics' SQuAD", _METRIC_MARK, "metric", _metric),
    Aim("an optimizer step, float32", _TRAINER, "2 x, equal", "training_step", _step("float32", 2)),
    Aim("the same, bf16", f"{_TRAINER}, bf16", "1.6 x", "training_step", _step("bfloat16", 1.6)),
    Aim("peak memory of a step, float32", _TRAINER, "not above", "training_step", _memory("float32")),
    Aim("the same, bf16", f"{_TRAINER}, bf16", "not above", "training_step", _memory("bfloat16")),
    Aim("training start, compiled program reused", "the first time", "under a fifth", "compiled_start", _start),
    Aim("a run with every stage reused", "six empty Prefect tasks", "at most 1 s more", "cached_run", _cached),
    Aim("importing the flow's module", "none", "under 2 s", "cached_run", _import),
    Aim("the demo, from an empty folder", "none", "under 180 s", "demo", _demo),
    Aim("the demo's night with nothing new", "none", "under 10 s", "unchanged_run", _unchanged("same_store")),
    Aim("the same, on an empty store", "none", "under 10 s", "unchanged_run", _unchanged("empty_store")),
    Aim("six stages on an emulated POD16", "none", "under 300 s, learns", "emulated_night", _emulated),
)
