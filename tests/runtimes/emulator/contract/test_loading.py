"""The contract on the data loader and on options."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from tests.runtimes.emulator.contract.models import options


@pytest.mark.parametrize("mode", ["Sync", "Async", "AsyncRebatched"])
def test_the_loader_gives_combined_batches_in_order(poptorch: ModuleType, mode: str) -> None:
    loader = poptorch.DataLoader(
        options(poptorch, iterations=2, replicas=3),
        torch.utils.data.TensorDataset(torch.arange(50)),
        batch_size=4,
        mode=poptorch.DataLoaderMode[mode],
    )
    assert loader.combinedBatchSize == 24
    assert len(loader) == 2
    for _ in range(2):
        batches = [batch[0].tolist() for batch in loader]
        assert batches == [list(range(24)), list(range(24, 48))]
    loader.terminate()


def test_processes_share_the_data(poptorch: ModuleType) -> None:
    seen = []
    for process in range(3):
        wanted = options(poptorch)
        wanted.Distributed.configureProcessId(process, 3)
        loader = poptorch.DataLoader(wanted, torch.utils.data.TensorDataset(torch.arange(18)), batch_size=2)
        seen += [value for batch in loader for value in batch[0].tolist()]
    assert seen == list(range(18))


def test_options_in_use_cannot_change(poptorch: ModuleType) -> None:
    wanted = options(poptorch)
    poptorch.inferenceModel(torch.nn.Identity(), wanted)
    with pytest.raises(AttributeError, match="frozen"):
        wanted.deviceIterations(2)
    copied = wanted.clone()
    copied.deviceIterations(2)
    assert (wanted.device_iterations, copied.device_iterations) == (1, 2)


def test_options_check_types_and_names(poptorch: ModuleType) -> None:
    wanted = options(poptorch)
    with pytest.raises(AssertionError, match="device_iterations"):
        wanted.deviceIterations("many")
    with pytest.raises(ValueError, match="setPartialsType"):
        wanted.Precision.setPartialsType(torch.int8)
    wanted._Popart.set("noSuchOption", True)
    with pytest.raises(poptorch.Error, match=r"Unknown .* option .*noSuchOption"):
        poptorch.inferenceModel(torch.nn.Identity(), wanted)(torch.ones(1))


def test_only_a_models_own_code_runs_on_the_ipu(poptorch: ModuleType) -> None:
    class Asks(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if poptorch.isRunningOnIpu() else x

    assert poptorch.inferenceModel(Asks(), options(poptorch))(torch.zeros(1)).item() == 1.0
    assert not poptorch.isRunningOnIpu()
    assert Asks()(torch.zeros(1)).item() == 0.0
