"""Rounding to 16 bits: stochastic rounding is right on average and exact where nothing is to round."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch

from tests.runtimes.emulator.contract.models import Regression, data, largest_difference, options, pairs


@pytest.fixture
def rounding(emulator: ModuleType) -> ModuleType:
    return importlib.import_module("poptorch.precision")


@pytest.mark.parametrize(
    "value", [1.0003, -1.0003, 0.1, 3e-5, -3e-5, 1e-7, 4e-8, 1234.56, 65500.0], ids=lambda value: f"{value:g}"
)
def test_stochastic_rounding_is_right_on_average(rounding: ModuleType, value: float) -> None:
    count = 40_000
    exact = torch.full((count,), value)
    rounded = rounding.StochasticRounding(1)(exact, torch.float16)
    near = torch.unique(rounded.double())  # of float64: the SDK's torch has no unique of halves
    step = float(near.max() - near.min()) if len(near) > 1 else 0.0
    assert rounded.dtype == torch.float16
    assert len(near) <= 2
    assert near.min() <= exact[0].double() <= near.max()
    # Five standard errors of a mean of values one step apart.
    assert abs(float(rounded.double().mean() - exact[0].double())) <= 5 * 0.5 * step / count**0.5 + 1e-12


def test_what_a_float16_holds_stays(rounding: ModuleType) -> None:
    halves = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    finite = halves[halves.isfinite()]
    assert torch.equal(rounding.StochasticRounding(1)(finite.float(), torch.float16), finite)
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e6, -1e6])
    rounded = rounding.StochasticRounding(1)(special, torch.float16)
    assert rounded.isinf().tolist() == [True, True, False, True, True]
    assert rounded[2].isnan()


def test_small_updates_survive_with_stochastic_rounding_alone(emulator: ModuleType) -> None:
    x, y = (tensor.half() for tensor in data(4))

    def moved(stochastic: bool) -> float:
        model = Regression(emulator.identity_loss, width=64).half()
        before = [weight.detach().clone() for weight in model.parameters()]
        wanted = options(emulator)
        wanted.randomSeed(1)
        wanted.Precision.enableStochasticRounding(stochastic)
        adamw = emulator.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0)
        emulator.trainingModel(model, wanted, adamw)(x, y)
        changed = [int((a != b).sum()) for a, b in pairs(before, model.parameters())]
        return sum(changed) / sum(weight.numel() for weight in before)

    to_nearest, stochastic = moved(False), moved(True)
    assert stochastic > to_nearest + 0.05


def test_half_products_round_once(emulator: ModuleType) -> None:
    layer = torch.nn.Linear(512, 8).half()
    x = torch.randn(4, 512, generator=torch.Generator().manual_seed(1)).half()
    out = emulator.inferenceModel(layer, options(emulator))(x)
    with torch.no_grad():
        exact = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    assert largest_difference([out], [exact.half()]) <= 2.0**-10 * float(exact.abs().max())


def test_bias_correction_can_follow_the_argument(emulator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(4)

    def first_change(value: str) -> float:
        monkeypatch.setenv("PODSQUAD_EMULATED_BIAS_CORRECTION", value)
        model = Regression(emulator.identity_loss)
        before = [weight.detach().clone() for weight in model.parameters()]
        adamw = emulator.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, bias_correction=False)
        emulator.trainingModel(model, options(emulator), adamw)(x, y)
        return largest_difference(before, model.parameters())

    assert first_change("sdk") == pytest.approx(1e-3, rel=1e-3)
    # Without correction the first change is 0.1 / sqrt(0.001) times as large.
    assert first_change("argument") == pytest.approx(1e-3 * 0.1 / 0.001**0.5, rel=1e-3)


def test_automatic_loss_scaling_rises_without_overflow_and_falls_with_it(emulator: ModuleType) -> None:
    def factors(size: float) -> list[float]:
        model = Regression(emulator.identity_loss).half()
        wanted = options(emulator)
        wanted.Training.setAutomaticLossScaling(True)
        sgd = emulator.optim.SGD(model.parameters(), lr=0.0, loss_scaling=64.0)
        training = emulator.trainingModel(model, wanted, sgd)
        x, y = data(4)
        found = []
        for _ in range(3):
            training(x.half(), (y * size).half())
            found.append(float(sgd.state_dict()["ipu_state"]["lossScaleUpdateFactor"]))
        return found

    assert factors(1.0) == [2.0, 4.0, 8.0]
    assert factors(3e4) == [0.5, 0.25, 0.125]
