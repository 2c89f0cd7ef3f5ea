"""The contract on batches: their layout, what of the outputs comes back, types at the border, fixed shapes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import Regression, Staged, data, options


class Counted(torch.nn.Module):
    """Give the inputs back, and a loss that is the first input's value."""

    def __init__(self, mark: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.mark = mark

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mark(x[0] + 0 * self.weight, reduction="sum"), x


def test_final_returns_the_last_micro_batch_of_each_replica(poptorch: ModuleType) -> None:
    model = poptorch.trainingModel(
        Counted(poptorch.identity_loss), options(poptorch, iterations=2, replicas=2, accumulation=3)
    )
    loss, x = model(torch.arange(24.0))
    assert loss.tolist() == [20.0, 22.0]
    assert x.tolist() == [20.0, 21.0, 22.0, 23.0]


@pytest.mark.parametrize(
    ("mode", "period", "expected"),
    [
        ("All", None, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        ("Final", None, [6.0, 7.0]),
        ("EveryN", 2, [2.0, 3.0, 6.0, 7.0]),
        ("Sum", None, [12.0, 16.0]),
    ],
    ids=["all", "final", "every second", "sum"],
)
def test_output_modes(poptorch: ModuleType, mode: str, period: int | None, expected: list[float]) -> None:
    wanted = options(poptorch, iterations=4)
    wanted.outputMode(poptorch.OutputMode[mode], period)
    out = poptorch.inferenceModel(torch.nn.Identity(), wanted)(torch.arange(8.0))
    assert out.tolist() == expected


def test_evaluation_returns_all_in_the_order_of_the_inputs(poptorch: ModuleType) -> None:
    model = Regression(poptorch.identity_loss).eval()
    x, _ = data(40)
    out = poptorch.inferenceModel(model, options(poptorch, iterations=5, replicas=4))(x)
    assert out.shape == (40, 2)
    assert torch.allclose(out, model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        (torch.int64, torch.int32),
        (torch.float64, torch.float32),
        (torch.float16, torch.float16),
        (torch.int32, torch.int32),
        (torch.bool, torch.bool),
    ],
    ids=str,
)
def test_types_at_the_border(poptorch: ModuleType, given: torch.dtype, returned: torch.dtype) -> None:
    out = poptorch.inferenceModel(torch.nn.Identity(), options(poptorch))(torch.ones(3).to(given))
    assert out.dtype == returned
    assert torch.equal(out, torch.ones(3).to(returned))


@pytest.mark.parametrize("other", [torch.zeros(5, 4), torch.zeros(8, 4).half()], ids=["shape", "type"])
def test_a_call_must_be_as_compiled(poptorch: ModuleType, other: torch.Tensor) -> None:
    model = poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), options(poptorch))
    model(torch.zeros(8, 4))
    with pytest.raises(poptorch.Error, match="don't match the inputs used to compile"):
        model(other)


def test_a_batch_that_does_not_divide_is_refused(poptorch: ModuleType) -> None:
    model = poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), options(poptorch, iterations=3))
    with pytest.raises(AssertionError, match="batch dimension"):
        model(torch.zeros(8, 4))


@pytest.mark.parametrize("accumulation", [6, 7], ids=["too little", "enough"])
def test_a_pipeline_of_four_stages_needs_an_accumulation_of_seven(poptorch: ModuleType, accumulation: int) -> None:
    model = poptorch.trainingModel(Staged(poptorch, ipus=4), options(poptorch, accumulation=accumulation))
    x = torch.ones(2 * accumulation, 4)
    if accumulation == 7:
        assert model(x).shape == ()
        return
    with pytest.raises(poptorch.Error, match=r"number of pipeline stages \(7\)"):
        model(x)


def test_three_ipus_need_rounding_to_a_power_of_two(poptorch: ModuleType) -> None:
    wanted = options(poptorch, accumulation=5)
    with pytest.raises(poptorch.Error, match="autoRoundNumIPUs"):
        poptorch.trainingModel(Staged(poptorch, ipus=3), wanted)(torch.ones(10, 4))
    wanted = options(poptorch, accumulation=5)
    wanted.autoRoundNumIPUs(True)
    assert poptorch.trainingModel(Staged(poptorch, ipus=3), wanted)(torch.ones(10, 4)).shape == ()


@pytest.mark.parametrize("marked", [False, True], ids=["unmarked", "marked"])
def test_the_loss_must_be_marked(poptorch: ModuleType, marked: bool) -> None:
    mark = poptorch.identity_loss if marked else (lambda loss, reduction: loss)
    x, y = data(4)
    model = poptorch.trainingModel(Regression(mark), options(poptorch))
    if marked:
        assert torch.isfinite(model(x, y)[0])
        return
    with pytest.raises(poptorch.Error, match="Couldn't find a loss in graph"):
        model(x, y)


def test_operands_of_mixed_precision_are_upcast(poptorch: ModuleType) -> None:
    layer = torch.nn.Linear(4, 3).half()
    out = poptorch.inferenceModel(layer, options(poptorch))(torch.ones(2, 4))
    assert out.dtype == torch.float32
    assert torch.allclose(out, torch.nn.functional.linear(torch.ones(2, 4), layer.weight.float(), layer.bias.float()))
