"""The layout of a combined batch, and what of the outputs comes back.

A combined batch is micro batch x device iterations x replicas (in groups that share input) x gradient accumulation,
along the first dimension of every input. A replica takes every ``groups``-th micro-batch: the order, from slow to
fast, is device iteration, accumulation step, replica group. Outputs come back in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .enums import CommGroupType, OutputMode


@dataclass(frozen=True)
class BatchLayout:
    """How many micro-batches one call has, and which replica runs which."""

    device_iterations: int
    accumulation: int
    replicas: int
    input_group_size: int
    input_groups_are_consecutive: bool
    output_mode: OutputMode
    output_period: int

    @classmethod
    def of(cls, options: Any, training: bool) -> BatchLayout:
        """The layout that options ask for."""
        return cls(
            device_iterations=options.device_iterations,
            accumulation=options.Training.gradient_accumulation if training else 1,
            replicas=options.replication_factor,
            input_group_size=options.input_group_size,
            input_groups_are_consecutive=options.input_cgt == CommGroupType.Consecutive,
            output_mode=OutputMode(options.output_mode),
            output_period=options.output_return_period,
        )

    @property
    def input_groups(self) -> int:
        """Replicas that read input of their own."""
        return self.replicas // self.input_group_size

    @property
    def input_parts(self) -> int:
        """Parts into which the first dimension of an input falls."""
        return self.device_iterations * self.accumulation * self.input_groups

    def check(self, tensor: torch.Tensor) -> None:
        """Raise AssertionError unless the tensor's first dimension falls into equal parts."""
        size = tensor.shape[0] if tensor.dim() else 1
        assert size % self.input_parts == 0, (
            "the batch dimension of an input of shape {} does not fall into {} equal micro-batches: {} device "
            "iterations x {} replicas in input groups of {} x {} accumulation steps".format(
                tuple(tensor.shape),
                self.input_parts,
                self.device_iterations,
                self.replicas,
                self.input_group_size,
                self.accumulation,
            )
        )

    def split(self, tensor: torch.Tensor) -> torch.Tensor:
        """View an input as [device iterations, accumulation, input groups, micro batch, ...]."""
        outer = (self.device_iterations, self.accumulation, self.input_groups)
        if not tensor.dim():
            return tensor.expand(outer)
        return tensor.reshape((*outer, tensor.shape[0] // self.input_parts, *tensor.shape[1:]))

    def first(self, tensor: torch.Tensor) -> torch.Tensor:
        """The first micro-batch of an input: what a model is compiled with."""
        return tensor[: tensor.shape[0] // self.input_parts] if tensor.dim() else tensor

    def input_group(self, replica: int) -> int:
        """The part of the input that a replica reads."""
        if self.input_groups_are_consecutive:
            return replica // self.input_group_size
        return replica % self.input_groups

    def wanted(self, iteration: int) -> bool:
        """Whether the outputs of a loop iteration (device iteration x accumulation + step) come back."""
        total = self.device_iterations * self.accumulation
        if self.output_mode == OutputMode.Final:
            return iteration == total - 1
        if self.output_mode == OutputMode.EveryN:
            return (iteration + 1) % self.output_period == 0
        return True

    def gathered(self, steps: list[torch.Tensor]) -> torch.Tensor:
        """One output for the host: ``steps`` holds [replicas, micro batch, ...] for every wanted step."""
        total = torch.stack(steps)
        if self.output_mode == OutputMode.Sum:
            total = total.sum(0, keepdim=True, dtype=total.dtype)
        if total.dim() == 2:  # scalars: one per micro-batch, or just the one
            return total.reshape(()) if total.numel() == 1 else total.reshape(-1)
        return total.reshape((-1, *total.shape[3:]))
