"""The contract on optimizers: their updates are torch's, group by group, and their states can be read and written."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import Regression, data, largest_difference, options

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "SGD": ("SGD", "SGD", {"lr": 0.05}),
    "SGD with decay": ("SGD", "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    "SGD with momentum": ("SGD", "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "Adam": ("Adam", "Adam", {"lr": 0.01}),
    "Adam with L2": ("Adam", "Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "AdamW": ("AdamW", "AdamW", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95)}),
    "RMSprop": ("RMSprop", "RMSprop", {"lr": 0.01, "alpha": 0.9}),
    "RMSprop, centred": ("RMSprop", "RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True}),
}


def trained(poptorch: ModuleType, make: Any, steps: int = 4) -> tuple[Regression, Any, Any]:
    """Return a model after some steps, its optimizer, and poptorch's model of it."""
    model = Regression(poptorch.identity_loss)
    optimizer = make(model)
    training = poptorch.trainingModel(model, options(poptorch, accumulation=2), optimizer)
    for _ in range(steps):
        training(*data(8))
    return model, optimizer, training


def reference(poptorch: ModuleType, make: Any, steps: int = 4) -> Regression:
    model = Regression(poptorch.identity_loss)
    optimizer = make(model)
    for _ in range(steps):
        optimizer.zero_grad()
        model(*data(8))[0].backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", KINDS)
def test_updates_are_torch_s(poptorch: ModuleType, name: str) -> None:
    ours, theirs, settings = KINDS[name]
    made, _, _ = trained(poptorch, lambda model: getattr(poptorch.optim, ours)(model.parameters(), **settings))
    expected = reference(poptorch, lambda model: getattr(torch.optim, theirs)(model.parameters(), **settings))
    assert largest_difference(made.parameters(), expected.parameters()) <= 2e-6


def test_each_group_has_settings_of_its_own(poptorch: ModuleType) -> None:
    def groups(model: Regression) -> list[dict[str, Any]]:
        return [
            {"params": model.first.parameters(), "lr": 0.01, "weight_decay": 0.0},
            {"params": model.second.parameters(), "lr": 0.03, "weight_decay": 0.2},
        ]

    made, _, _ = trained(poptorch, lambda model: poptorch.optim.AdamW(groups(model), lr=1.0))
    expected = reference(poptorch, lambda model: torch.optim.AdamW(groups(model), lr=1.0))
    assert largest_difference(made.parameters(), expected.parameters()) <= 2e-6


def test_a_schedule_of_torch_sets_the_rate(poptorch: ModuleType) -> None:
    def scheduled(model: Regression, sgd: Any, step: Any) -> None:
        schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda number: 1.0 / (1 + number))
        for _ in range(3):
            step()
            schedule.step()

    x, y = data(8)
    ours, theirs = (Regression(poptorch.identity_loss) for _ in range(2))
    adamw = poptorch.optim.AdamW(ours.parameters(), lr=0.02)
    training = poptorch.trainingModel(ours, options(poptorch), adamw)

    def our_step() -> None:
        training.setOptimizer(adamw)
        training(x, y)
        adamw.step()  # for the schedule's sake: it does nothing here

    torchs = torch.optim.AdamW(theirs.parameters(), lr=0.02)

    def their_step() -> None:
        torchs.zero_grad()
        theirs(x, y)[0].backward()
        torchs.step()

    scheduled(ours, adamw, our_step)
    scheduled(theirs, torchs, their_step)
    assert largest_difference(ours.parameters(), theirs.parameters()) <= 2e-6


def test_lamb_s_update_is_in_proportion_to_the_weights(poptorch: ModuleType) -> None:
    def first_update(scale: float) -> list[torch.Tensor]:
        model = Regression(poptorch.identity_loss)
        with torch.no_grad():
            model.second.weight.mul_(scale)
        before = model.second.weight.detach().clone()
        lamb = poptorch.optim.LAMB(model.parameters(), lr=0.01, weight_decay=0.0)
        poptorch.trainingModel(model, options(poptorch), lamb)(*data(8))
        return [before, model.second.weight.detach() - before]

    for scale in (0.5, 2.0):
        before, change = first_update(scale)
        # Layer by layer: rate x norm of the weights, in the direction of Adam's update.
        assert float(change.norm() / before.norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("constant", [True, False], ids=["constant", "variable"])
def test_a_constant_of_the_program_cannot_change(poptorch: ModuleType, constant: bool) -> None:
    model = Regression(poptorch.identity_loss)
    before = [weight.detach().clone() for weight in model.parameters()]
    sgd = poptorch.optim.SGD(model.parameters(), lr=0.0)
    if constant:
        sgd.variable_attrs.markAsConstant("lr")
    training = poptorch.trainingModel(model, options(poptorch), sgd)
    training(*data(8))
    sgd.param_groups[0]["lr"] = 0.1
    if constant:
        with pytest.raises(poptorch.Error):
            training.setOptimizer(sgd)
        return
    training.setOptimizer(sgd)
    training(*data(8))
    assert largest_difference(before, model.parameters()) > 1e-3


@pytest.mark.parametrize(
    ("state", "types"), [("float16", (torch.float16, torch.float32)), ("float32", (torch.float32, torch.float32))]
)
def test_moments_have_the_types_that_were_asked_for(
    poptorch: ModuleType, state: str, types: tuple[torch.dtype, torch.dtype]
) -> None:
    model = Regression(poptorch.identity_loss).half()
    first = getattr(torch, state)
    adamw = poptorch.optim.AdamW(
        model.parameters(), lr=1e-3, accum_type=torch.float16, first_order_momentum_accum_type=first,
        second_order_momentum_accum_type=torch.float32,
    )  # fmt: skip
    poptorch.trainingModel(model, options(poptorch, accumulation=2), adamw)(*(each.half() for each in data(8)))
    held = adamw.state_dict()["ipu_state"]
    found = tuple(held[f"{name}___second.weight"].dtype for name in ("Accl1", "Accl2"))
    assert found == types


def test_a_state_that_is_read_changes_nothing(poptorch: ModuleType) -> None:
    def adamw(model: Regression) -> Any:
        return poptorch.optim.AdamW(model.parameters(), lr=0.01)

    undisturbed, _, _ = trained(poptorch, adamw, steps=6)
    model, optimizer, training = trained(poptorch, adamw, steps=3)
    optimizer.state_dict()
    for _ in range(3):
        training(*data(8))
    assert largest_difference(model.parameters(), undisturbed.parameters()) == 0.0
