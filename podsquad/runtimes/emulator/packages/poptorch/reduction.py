"""Gradients of accumulation steps and replicas, becoming one per weight.

With a running mean each replica keeps acc = acc * k / (k + 1) + g / (k + 1) in the accumulator's type; otherwise the
accumulator holds the sum, and a mean is taken at the end.
"""

from __future__ import annotations

from typing import Any, Callable

import torch

from .enums import MeanReductionStrategy, ReductionType


class Reduction:
    """The gradients of one update. ``dtype`` is the accumulator's; ``rounding`` brings float32 into it."""

    def __init__(
        self, training: Any, replicas: int, steps: int, dtype: torch.dtype, rounding: Callable[..., torch.Tensor]
    ) -> None:
        self._replicas = replicas
        self._steps = steps
        self._dtype = dtype
        self._rounding = rounding
        self.mean = training.accumulation_and_replication_reduction_type == ReductionType.Mean
        strategy = training.meanAccumulationAndReplicationReductionStrategy
        self.running = self.mean and strategy == MeanReductionStrategy.Running
        self._accumulators: dict[str, torch.Tensor] = {}
        self._step = 0

    def add_step(self, gradients: dict[str, torch.Tensor]) -> None:
        """Add one accumulation step: per weight a tensor whose first dimension is the replica."""
        for name, gradient in gradients.items():
            held = self._accumulators.get(name)
            if held is None:
                self._accumulators[name] = self._rounding(gradient.float(), self._dtype)
            elif self.running:
                mixed = held.float() * (self._step / (self._step + 1)) + gradient.float() * (1 / (self._step + 1))
                self._accumulators[name] = self._rounding(mixed, self._dtype)
            else:
                self._accumulators[name] = self._rounding(held.float() + gradient.float(), self._dtype)
        self._step += 1

    def add_sum(self, gradients: dict[str, torch.Tensor]) -> None:
        """Add a sum over several micro-batches, of any steps and replicas. For float32 sums only."""
        assert not self.running
        for name, gradient in gradients.items():
            held = self._accumulators.get(name)
            self._accumulators[name] = gradient[None] if held is None else held + gradient[None]

    def result(self) -> dict[str, torch.Tensor]:
        """The gradients over all steps and replicas, in float32."""
        divisor = 1
        if self.mean:
            divisor = self._replicas * (1 if self.running else self._steps)
        return {name: held.float().sum(0) / divisor for name, held in self._accumulators.items()}
