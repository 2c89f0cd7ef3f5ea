"""Batch arithmetic: features, steps, micro-batches, and the memory they take.

A step is one update of the weights over ``batch_size`` features. What goes through the model at once is a
micro-batch of at most ``micro_batch_tokens`` tokens; every sequence's loss is divided by the number of sequences in
the whole step, so that the gradient is that of the step whatever the micro-batches are, but for rounding.

Needs numpy alone and runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from podsquad.errors import DataError, SettingsError


@dataclass(frozen=True)
class BatchPlan:
    """The arithmetic of one pass over the training features. Counts are features, lengths are tokens."""

    num_features: int
    num_tokens: int
    longest_tokens: int
    batch_size: int
    full_steps_per_epoch: int
    last_batch_features: int
    """Features that are left for one smaller step; 0 where the batch size divides their number."""
    micro_batch_tokens: int

    def steps_per_epoch(self, drop_last: bool) -> int:
        """Return the steps of an epoch; ``drop_last`` leaves the smaller one out."""
        return self.full_steps_per_epoch + int(self.last_batch_features > 0 and not drop_last)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def plan_batches(layout: Mapping[str, Any], batch_size: int, micro_batch_tokens: int) -> BatchPlan:
    """Return the plan for a features folder's layout.

    Raises DataError when there is nothing to train on, and SettingsError when the longest feature does not fit
    into a micro-batch.
    """
    split = layout["splits"]["train"]
    num_features, longest = int(split["num_features"]), int(split["longest_tokens"])
    if num_features == 0:
        raise DataError(
            "the training split holds no features",
            why="its questions were all left out, or there were none",
            do="check the questions that data.source names",
        )
    if longest > micro_batch_tokens:
        raise SettingsError(
            f"training.micro_batch_tokens is {micro_batch_tokens}, but the longest feature has {longest} tokens",
            why="a feature goes through the model in one piece",
            do=f"set training.micro_batch_tokens to {longest} or more, or lower features.max_length",
        )
    full, rest = divmod(num_features, batch_size)
    return BatchPlan(num_features, int(split["num_tokens"]), longest, batch_size, full, rest, micro_batch_tokens)


def total_steps(plan: BatchPlan, epochs: int, drop_last: bool) -> int:
    """Return the steps of a training. Raises SettingsError when there are none."""
    steps = plan.steps_per_epoch(drop_last) * epochs
    if steps == 0:
        raise SettingsError(
            f"training.batch_size {plan.batch_size} is larger than the {plan.num_features} training features, and "
            "training.drop_last leaves the smaller batch out: nothing is left to train on",
            why="a step takes training.batch_size features",
            do="lower training.batch_size or set training.drop_last=false",
        )
    return steps


def micro_batches(lengths: np.ndarray, max_tokens: int, *, padded: bool = False) -> list[np.ndarray]:
    """Cut sequences into as few micro-batches of at most ``max_tokens`` tokens as their order allows, evenly filled.

    Returns positions in ``lengths`` (int64); every position occurs once. Sequences run from short to long, so that
    neighbours are of similar length. ``padded`` counts each sequence at the length of its micro-batch's longest. A
    sequence longer than ``max_tokens`` gets a micro-batch of its own. Evenly: the fullest is as little full as can be,
    since it is the one that says how much memory a step takes.
    """
    by_length = np.argsort(lengths, kind="stable").astype(np.int64)
    ordered: list[int] = lengths[by_length].tolist()
    low, high = 1, max_tokens
    fewest = len(_starts(ordered, max_tokens, padded))
    while low < high:
        middle = (low + high) // 2
        if len(_starts(ordered, middle, padded)) > fewest:
            low = middle + 1
        else:
            high = middle
    starts = _starts(ordered, high, padded)
    return np.split(by_length, starts[1:]) if starts else []


def _starts(ordered: list[int], max_tokens: int, padded: bool) -> list[int]:
    """Return where micro-batches begin that are filled one after the other; ``ordered`` are lengths, ascending."""
    starts: list[int] = []
    tokens = 0
    for place, length in enumerate(ordered):
        grown = (place - starts[-1] + 1) * length if padded and starts else tokens + length
        if not starts or grown > max_tokens:
            starts.append(place)
            tokens = 0
        tokens += length
    return starts


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training takes, without the libraries' own, and how the figure comes about."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    assumptions: str

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes + self.activations_bytes

    def as_json(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return {**asdict(self), "total_bytes": self.total_bytes}


def estimate_memory(
    num_parameters: int,
    *,
    tokens: int,
    hidden_size: int,
    intermediate_size: int,
    num_layers: int,
    activation_bytes: int,
) -> MemoryEstimate:
    """Estimate what training takes with ``tokens`` in one micro-batch and activations of ``activation_bytes`` each.

    Weights, gradients and Adam's two moments are float32. Per token and layer the backward pass needs the layer's
    input, query, key, value, attention output, two sums before and two after normalisation (9 widths), and the inner
    layer before and after its activation function. Attention weights are not counted: flash attention keeps none,
    and on a CPU a micro-batch is small.
    """
    per_token = num_layers * (9 * hidden_size + 2 * intermediate_size) + 4 * hidden_size
    return MemoryEstimate(
        weights_bytes=4 * num_parameters,
        gradients_bytes=4 * num_parameters,
        optimizer_bytes=8 * num_parameters,
        activations_bytes=tokens * per_token * activation_bytes,
        assumptions=(
            f"float32 weights, gradients and two moments of {num_parameters:,} parameters; activations of {tokens:,} "
            f"tokens x ({num_layers} layers x (9 x {hidden_size} + 2 x {intermediate_size}) + 4 x {hidden_size}) x "
            f"{activation_bytes} bytes; attention weights, dropout masks and allocator's reserve not counted"
        ),
    )
