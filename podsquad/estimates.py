"""Batch arithmetic and what a run needs of memory and disk, as far as it can be told beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podsquad.config.settings import Settings
from podsquad.data.arrow import read_layout
from podsquad.errors import PodsquadError
from podsquad.pod_estimates import pod_estimates
from podsquad.runtimes.batch_plan import plan_batches, total_steps

_FLOAT_BYTES = 4
_CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class Estimate:
    """One figure and how it comes about."""

    name: str
    value: str
    how: str


def estimate(settings: Settings, features: Path | None, executable: Path | None) -> tuple[Estimate, ...]:
    """Return a run's figures.

    ``features`` and ``executable`` are the artifacts that they are counted in; without them little can be told.
    """
    try:
        if settings.runtime.name == "ipu":
            return tuple(Estimate(*figure) for figure in pod_estimates(settings, features)) + tuple(_disk(executable))
        if features is None:
            return (Estimate("steps", "not known yet", "the features are still to be made"),)
        return tuple(_arithmetic(settings, features)) + tuple(_sizes(executable))
    except PodsquadError as error:
        return (Estimate("steps", "not possible", error.what),)


def _arithmetic(settings: Settings, features: Path) -> Iterator[Estimate]:
    training, layout = settings.training, read_layout(features)
    batches = plan_batches(layout, training.batch_size, training.micro_batch_tokens)
    steps = total_steps(batches, training.epochs, training.drop_last)
    rest = batches.last_batch_features
    left = f", the last of {rest} {'left out' if training.drop_last else 'smaller'}" if rest else ""
    yield Estimate(
        "steps",
        f"{steps:,}",
        f"{batches.num_features:,} features in batches of {training.batch_size}{left}, {training.epochs} times",
    )
    mean = batches.num_tokens / batches.num_features
    yield Estimate(
        "tokens per step",
        f"{mean * training.batch_size:,.0f}",
        f"{mean:.1f} tokens per feature on average, {batches.longest_tokens} at most; nothing is padded",
    )


def _sizes(executable: Path | None) -> Iterator[Estimate]:
    if executable is None:
        yield Estimate("memory", "not known yet", "the executable is still to be made")
        return
    plan = json.loads((executable / "plan.json").read_text(encoding="utf-8"))
    memory = plan["memory"]
    yield Estimate("memory of a step", f"{memory['total_bytes'] / 2**20:,.0f} MiB", memory["assumptions"])
    yield from _disk(executable)


def _disk(executable: Path | None) -> Iterator[Estimate]:
    if executable is None:
        return
    num_parameters = json.loads((executable / "plan.json").read_text(encoding="utf-8"))["num_parameters"]
    # A checkpoint holds weights and two moments; while one is written the older ones are still there.
    disk_bytes = num_parameters * _FLOAT_BYTES * (3 * (_CHECKPOINTS_KEPT + 1) + 2)
    yield Estimate(
        "disk while training",
        f"{disk_bytes / 2**20:,.0f} MiB",
        f"{_CHECKPOINTS_KEPT + 1} checkpoints of weights and two moments, the model, its publication",
    )
