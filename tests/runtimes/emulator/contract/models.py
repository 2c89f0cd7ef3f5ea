"""Small models for the contract: they mark their loss as poptorch asks, and run on a CPU as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch


class Regression(torch.nn.Module):
    """Two layers; with labels (outputs are) loss and prediction. ``mark`` is poptorch's identity_loss."""

    def __init__(self, mark: Callable[..., torch.Tensor], width: int = 8, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = torch.nn.Linear(4, width)
        self.second = torch.nn.Linear(width, 2)
        self.mark = mark

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        predicted = self.second(torch.tanh(self.first(x)))
        if labels is None:
            return predicted
        return self.mark(((predicted - labels) ** 2).mean(), reduction="mean"), predicted


class Staged(torch.nn.Module):
    """One layer on each of several IPUs."""

    def __init__(self, poptorch: ModuleType, ipus: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        layers = [poptorch.BeginBlock(torch.nn.Linear(4, 4), ipu_id=ipu) for ipu in range(ipus)]
        self.layers = torch.nn.ModuleList(layers)
        self.mark = poptorch.identity_loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.mark(x, reduction="mean")


def data(count: int, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [count, 4] and labels [count, 2], float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.randn(count, 2, generator=generator)


def options(
    poptorch: ModuleType, *, iterations: int = 1, replicas: int = 1, accumulation: int = 1, mode: Any = None
) -> Any:
    """Options of a batch layout and, where given, an output mode."""
    made = poptorch.Options()
    made.deviceIterations(iterations)
    made.replicationFactor(replicas)
    made.Training.gradientAccumulation(accumulation)
    made.showCompilationProgressBar(False)
    if mode is not None:
        made.outputMode(mode)
    return made


def pairs(first: Iterable[torch.Tensor], second: Iterable[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pair tensors of equally many (the contract also runs on the SDK's Python 3.8, whose zip is not strict)."""
    first, second = list(first), list(second)
    assert len(first) == len(second)
    return [(first[position], second[position]) for position in range(len(first))]


def largest_difference(first: Iterable[torch.Tensor], second: Iterable[torch.Tensor]) -> float:
    """The largest absolute difference between pairs of tensors."""
    return max(float((a.detach().float() - b.detach().float()).abs().max()) for a, b in pairs(first, second))
