"""The contract on updates: gradients, loss scaling, bias correction, 16-bit accumulation, optimizers' states."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch

from tests.runtimes.emulator.contract.models import Regression, data, largest_difference, options, pairs


def reference_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss, _ = model(x, y)
    loss.backward()
    optimizer.step()


def test_a_step_over_replicas_and_accumulation_is_torchs_adamw(poptorch: ModuleType) -> None:
    x, y = data(256)
    ours, theirs = (Regression(poptorch.identity_loss) for _ in range(2))
    settings = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    model = poptorch.trainingModel(
        ours,
        options(poptorch, replicas=4, accumulation=16),
        poptorch.optim.AdamW(ours.parameters(), loss_scaling=64.0, **settings),
    )
    reference = torch.optim.AdamW(theirs.parameters(), **settings)
    for _ in range(3):
        model(x, y)
        reference_step(theirs, reference, x, y)
    assert largest_difference(ours.parameters(), theirs.parameters()) <= 1e-6


def test_adamw_is_bias_corrected_whatever_it_is_told(poptorch: ModuleType) -> None:
    x, y = data(8)
    weights = []
    for corrected in (True, False):
        model = Regression(poptorch.identity_loss)
        adamw = poptorch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0, bias_correction=corrected)
        poptorch.trainingModel(model, options(poptorch), adamw)(x, y)
        weights.append([weight.detach().clone() for weight in model.parameters()])
    assert largest_difference(*weights) == 0.0


def test_a_sum_of_gradients_is_the_mean_times_their_number(poptorch: ModuleType) -> None:
    x, y = data(8)
    changes = []
    for reduction, rate in ((poptorch.ReductionType.Mean, 0.4), (poptorch.ReductionType.Sum, 0.1)):
        model = Regression(poptorch.identity_loss)
        wanted = options(poptorch, accumulation=4)
        wanted.Training.accumulationAndReplicationReductionType(reduction)
        poptorch.trainingModel(model, wanted, poptorch.optim.SGD(model.parameters(), lr=rate))(x, y)
        changes.append([weight.detach().clone() for weight in model.parameters()])
    assert largest_difference(*changes) <= 1e-6


def test_float16_accumulators_keep_a_running_mean(poptorch: ModuleType) -> None:
    x, y = data(12)
    x, y = x.half(), (16.0 * y).half()  # far from what is predicted: gradients above 1
    ours = Regression(poptorch.identity_loss).half()
    theirs = Regression(poptorch.identity_loss).half().float()  # old versions of torch lack halves on a CPU
    before = [weight.detach().half() for weight in theirs.parameters()]
    each = [
        torch.autograd.grad(theirs(x[at : at + 4].float(), y[at : at + 4].float())[0], list(theirs.parameters()))
        for at in (0, 4, 8)
    ]
    # So large a scaling that float16 holds each gradient and their mean, but not their sum.
    scaling = 2.0 ** math.floor(math.log2(60_000 / max(float(g.abs().max()) for step in each for g in step)))
    sums = [scaling * (each[0][which] + each[1][which] + each[2][which]) for which in range(len(before))]
    assert any(bool((total.abs() > torch.finfo(torch.float16).max).any()) for total in sums)

    sgd = poptorch.optim.SGD(ours.parameters(), lr=1.0, accum_type=torch.float16, loss_scaling=scaling)
    model = poptorch.trainingModel(ours, options(poptorch, accumulation=3), sgd)
    model(x, y)
    assert model.options.Training.meanAccumulationAndReplicationReductionStrategy == (
        poptorch.MeanReductionStrategy.Running
    )
    accumulators = [torch.zeros_like(weight) for weight in before]
    for step, gradients in enumerate(each):
        accumulators = [
            (held.float() * (step / (step + 1)) + (gradient * scaling).half().float() / (step + 1)).half()
            for held, gradient in pairs(accumulators, gradients)
        ]
    expected = [(w.float() - a.float() / scaling).half() for w, a in pairs(before, accumulators)]
    assert all(bool(weight.isfinite().all()) for weight in ours.parameters())
    assert largest_difference(ours.parameters(), expected) <= 2e-3


@pytest.mark.parametrize("scaling", [1.0, 1024.0], ids=["unscaled", "scaled"])
def test_states_are_stored_without_the_loss_scaling(poptorch: ModuleType, scaling: float) -> None:
    x, y = data(4)
    model = Regression(poptorch.identity_loss)
    gradients = torch.autograd.grad(model(x, y)[0], list(model.parameters()))
    adam = poptorch.optim.Adam(model.parameters(), lr=1e-3, loss_scaling=scaling)
    poptorch.trainingModel(model, options(poptorch), adam)(x, y)
    state = adam.state_dict()["ipu_state"]
    names = [name for name, _ in model.named_parameters()]
    first = [state["Accl1___" + name] for name in names]
    second = [state["Accl2___" + name] for name in names]
    assert largest_difference(first, [0.1 * gradient for gradient in gradients]) <= 1e-7
    assert largest_difference(second, [0.001 * gradient**2 for gradient in gradients]) <= 1e-8


def test_a_new_learning_rate_counts_without_compiling(poptorch: ModuleType) -> None:
    x, y = data(4)
    model = Regression(poptorch.identity_loss)
    sgd = poptorch.optim.SGD(model.parameters(), lr=0.0)
    training = poptorch.trainingModel(model, options(poptorch), sgd)
    before = [weight.detach().clone() for weight in model.parameters()]
    training(x, y)
    assert largest_difference(before, model.parameters()) == 0.0
    sgd.param_groups[0]["lr"] = 0.1
    training.setOptimizer(sgd)
    training(x, y)
    assert largest_difference(before, model.parameters()) > 1e-3


def test_a_saved_state_goes_on_as_if_nothing_had_been(poptorch: ModuleType) -> None:
    x, y = data(4)

    def trained(steps: int, saved: dict[str, object] | None, weights: dict[str, torch.Tensor] | None):
        model = Regression(poptorch.identity_loss)
        if weights is not None:
            model.load_state_dict(weights)
        adamw = poptorch.optim.AdamW(model.parameters(), lr=1e-2)
        if saved is not None:
            adamw.load_state_dict(saved)
        training = poptorch.trainingModel(model, options(poptorch), adamw)
        for _ in range(steps):
            training(x, y)
        return {name: w.detach().clone() for name, w in model.state_dict().items()}, adamw.state_dict()

    whole, _ = trained(6, None, None)
    half, state = trained(3, None, None)
    resumed, _ = trained(3, state, half)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_an_overflow_is_not_skipped(poptorch: ModuleType) -> None:
    x, y = (tensor.half() for tensor in data(4))
    model = Regression(poptorch.identity_loss).half()
    adamw = poptorch.optim.AdamW(model.parameters(), lr=1e-3, loss_scaling=2.0**24)
    training = poptorch.trainingModel(model, options(poptorch), adamw)
    training(x, y)
    training.copyWeightsToHost()
    assert not all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def test_moments_are_float16_and_float32_where_weights_are_float16(poptorch: ModuleType) -> None:
    x, y = (tensor.half() for tensor in data(4))
    model = Regression(poptorch.identity_loss).half()
    adamw = poptorch.optim.AdamW(
        model.parameters(), lr=1e-3, accum_type=torch.float16, first_order_momentum_accum_type=torch.float16
    )
    poptorch.trainingModel(model, options(poptorch), adamw)(x, y)
    state = adamw.state_dict()["ipu_state"]
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}  # and no copy in float32
    assert state["Accl1___second.weight"].dtype == torch.float16
    assert state["Accl2___second.weight"].dtype == torch.float32


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_an_optimizer_of_torch_is_taken_for_what_it_is(poptorch: ModuleType, kind: str) -> None:
    # torch's AdamW is a subclass of its Adam since 2.7: a decay that is decoupled must not become an L2 penalty.
    x, y = data(8)
    ours, theirs = (Regression(poptorch.identity_loss) for _ in range(2))

    def make(model: Regression) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.01, weight_decay=0.2)
        return made

    model = poptorch.trainingModel(ours, options(poptorch), make(ours))
    reference = make(theirs)
    for _ in range(2):
        model(x, y)
        reference_step(theirs, reference, x, y)
    assert largest_difference(ours.parameters(), theirs.parameters()) <= 2e-6
