"""Micro-batches that run fused give what they give one by one, which is the oracle."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import largest_difference, options

SWITCH = "PODSQUAD_EMULATED_FUSION"
IGNORED = -100
# torch 2.0 cannot map a loss that leaves labels out: there the emulation falls back on single ones, as it says.
MAPS_IGNORED = not torch.__version__.startswith("2.0.")


class Reader(torch.nn.Module):
    """A small encoder with attention and dropout, and a loss that leaves some positions out: a mean per micro-batch."""

    def __init__(self, mark: Any, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embed = torch.nn.Embedding(50, 16)
        self.query = torch.nn.Linear(16, 48)
        self.norm = torch.nn.LayerNorm(16)
        self.out = torch.nn.Linear(16, 7)
        self.dropout = torch.nn.Dropout(dropout)
        self.mark = mark

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.dropout(self.embed(ids))
        q, k, v = self.query(x).chunk(3, dim=-1)
        weights = self.dropout(torch.softmax(q @ k.transpose(-1, -2) / 4.0, dim=-1))
        scores = self.out(self.norm(x + weights @ v))[:, 0]
        loss = torch.nn.functional.cross_entropy(scores, labels, ignore_index=IGNORED)
        return self.mark(loss, reduction="none"), scores


class Normed(torch.nn.Module):
    """A model that writes buffers."""

    def __init__(self, mark: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = torch.nn.Linear(4, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.mark = mark

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mark(self.norm(self.layer(x)) ** 2, reduction="mean")


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(0, 50, (96, 6), generator=generator)
    labels = torch.randint(0, 7, (96,), generator=generator)
    labels[torch.rand(96, generator=generator) < 0.4] = IGNORED
    labels[::4] = 1  # at least one label in each micro-batch of four
    return ids, labels


def trained(
    poptorch: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    fusion: str,
    *,
    half: bool,
    dropout: float,
    rounding: bool,
    seed: int = 4,
) -> tuple[list[torch.Tensor], list[torch.Tensor], Any]:
    monkeypatch.setenv(SWITCH, fusion)
    model = Reader(poptorch.identity_loss, dropout)
    if half:
        model.half()
    wanted = options(poptorch, iterations=2, replicas=2, accumulation=6, mode=poptorch.OutputMode.All)
    wanted.randomSeed(seed)
    wanted.Precision.enableStochasticRounding(rounding)
    dtype = torch.float16 if half else torch.float32
    # Not Adam: where a gradient is nothing but rounding (a key's bias), it makes a whole step of it.
    sgd = poptorch.optim.SGD(
        model.parameters(), lr=0.2, momentum=0.9, loss_scaling=16.0, accum_type=dtype, velocity_accum_type=dtype
    )
    training = poptorch.trainingModel(model, wanted, sgd)
    outputs = [tensor for _ in range(2) for tensor in training(*batch())]
    return outputs, [weight.detach().clone() for weight in model.parameters()], training


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["still", "dropout"])
@pytest.mark.parametrize(("half", "tolerance"), [(False, 2e-6), (True, 4e-3)], ids=["float32", "float16"])
def test_fused_micro_batches_are_the_single_ones(
    emulator: ModuleType, monkeypatch: pytest.MonkeyPatch, half: bool, tolerance: float, dropout: float
) -> None:
    fused = trained(emulator, monkeypatch, "auto", half=half, dropout=dropout, rounding=False)
    single = trained(emulator, monkeypatch, "off", half=half, dropout=dropout, rounding=False)
    assert fused[2]._program.is_fused == MAPS_IGNORED  # to the end: code that is not mapped runs one by one
    assert not single[2]._program.is_fused
    assert largest_difference(fused[0], single[0]) <= 10 * tolerance
    assert largest_difference(fused[1], single[1]) <= tolerance


def test_stochastic_rounding_draws_the_same_fused_or_not(emulator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(fusion: str, *, rounding: bool = True, seed: int = 4) -> list[torch.Tensor]:
        made = trained(emulator, monkeypatch, fusion, half=True, dropout=0.0, rounding=rounding, seed=seed)
        assert made[2]._program.is_fused == (MAPS_IGNORED and fusion == "auto")
        return made[1]

    fused = weights("auto")
    assert largest_difference(fused, weights("off")) <= 1e-3
    # What other draws, and none, come to is told apart by that.
    assert largest_difference(fused, weights("auto", seed=5)) > 2e-3
    assert largest_difference(fused, weights("auto", rounding=False)) > 2e-3


def test_what_couples_micro_batches_is_not_fused(emulator: ModuleType) -> None:
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    model = Normed(emulator.identity_loss)
    training = emulator.trainingModel(model, options(emulator, accumulation=3))
    training(x)
    assert "writes buffers" in training._program.trace.obstacle
    reference = Normed(lambda loss, reduction: loss.mean())
    for position in range(3):
        reference(x[position * 4 : position * 4 + 4])
    assert torch.allclose(model.norm.running_mean, reference.norm.running_mean, atol=1e-6)
    assert int(model.norm.num_batches_tracked) == 3


def test_random_numbers_other_than_dropout_are_not_fused(emulator: ModuleType) -> None:
    class Noisy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    model = emulator.inferenceModel(Noisy(), options(emulator, iterations=2))
    drawn = model(torch.zeros(2))
    assert "random numbers" in model._program.trace.obstacle
    assert drawn[0] != drawn[1]


def test_code_that_asks_for_values_runs_one_by_one(emulator: ModuleType) -> None:
    class Asking(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    model = emulator.inferenceModel(Asking(), options(emulator, iterations=3))
    assert model(torch.tensor([1.0, -2.0, 3.0])).tolist() == [1.0, 2.0, 3.0]
    assert not model._program.is_fused


def test_the_hosts_random_numbers_are_left_alone(emulator: ModuleType) -> None:
    model = emulator.inferenceModel(torch.nn.Dropout(0.5).train(), options(emulator))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model(torch.ones(8))
    assert torch.equal(torch.rand(4), expected)


def test_an_unknown_switch_is_refused(emulator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "always")
    with pytest.raises(ValueError, match="must be auto or off"):
        emulator.inferenceModel(torch.nn.Identity(), options(emulator))(torch.ones(1))
