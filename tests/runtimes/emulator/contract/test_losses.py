"""The contract on losses: which one is found, what marking does to it, and that it is the one that trains."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import largest_difference, options

LOSSES = {
    "L1Loss": (torch.nn.L1Loss, "numbers"),
    "MSELoss": (torch.nn.MSELoss, "numbers"),
    "SmoothL1Loss": (torch.nn.SmoothL1Loss, "numbers"),
    "CrossEntropyLoss": (torch.nn.CrossEntropyLoss, "classes"),
    "BCEWithLogitsLoss": (torch.nn.BCEWithLogitsLoss, "shares"),
    "PoissonNLLLoss": (torch.nn.PoissonNLLLoss, "shares"),
}


def inputs(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [6, 5] and what they are held against: numbers, shares from 0 to 1, or one class of 5 each."""
    generator = torch.Generator().manual_seed(8)
    scores, numbers = (torch.randn(6, 5, generator=generator) for _ in range(2))
    if kind == "classes":
        return scores, torch.tensor([0, 4, 2, 2, 1, 3])
    return scores, torch.sigmoid(numbers) if kind == "shares" else numbers


class Scored(torch.nn.Module):
    """One layer, and a loss on its output."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(5, 5)
        self.loss = loss

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.layer(x)
        return scores, self.loss(scores, labels)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_torch_is_found_without_a_mark(poptorch: ModuleType, name: str, reduction: str) -> None:
    kind, labels = LOSSES[name]
    x, y = inputs(labels)
    ours, theirs = (Scored(kind(reduction=reduction)) for _ in range(2))
    sgd = poptorch.optim.SGD(ours.parameters(), lr=0.01)
    _, loss = poptorch.trainingModel(ours, options(poptorch), sgd)(x, y)
    _, expected = theirs(x, y)
    expected.backward()
    torch.optim.SGD(theirs.parameters(), lr=0.01).step()
    assert torch.allclose(loss.reshape(()), expected.detach(), rtol=1e-5, atol=1e-6)
    assert largest_difference(ours.parameters(), theirs.parameters()) <= 1e-6


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 3.5), ("sum", 21.0)])
def test_a_mark_reduces_and_what_is_marked_trains(poptorch: ModuleType, reduction: str, expected: float) -> None:
    class Marked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return poptorch.identity_loss(self.weight * x, reduction=reduction)

    model = Marked()
    sgd = poptorch.optim.SGD(model.parameters(), lr=1.0)
    loss = poptorch.trainingModel(model, options(poptorch), sgd)(torch.arange(1.0, 7.0))
    assert float(loss) == expected
    share = 6 if reduction == "mean" else 1
    assert torch.allclose(model.weight.detach(), 1 - torch.arange(1.0, 7.0) / share, atol=1e-6)


def test_two_losses_must_be_made_one(poptorch: ModuleType) -> None:
    class Double(torch.nn.Module):
        def __init__(self, joined: bool) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(5, 5)
            self.joined = joined

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
            scores = self.layer(x)
            first = torch.nn.functional.mse_loss(scores, y)
            second = torch.nn.functional.l1_loss(scores, y)
            return poptorch.identity_loss(first + second, reduction="sum") if self.joined else (first, second)

    x, y = inputs("numbers")
    assert torch.isfinite(poptorch.trainingModel(Double(joined=True), options(poptorch))(x, y)).all()
    with pytest.raises(poptorch.Error, match=r"[Mm]ultiple|more than one"):
        poptorch.trainingModel(Double(joined=False), options(poptorch))(x, y)
