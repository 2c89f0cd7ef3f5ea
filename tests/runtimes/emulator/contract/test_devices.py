"""The contract on devices and executables: attach, weights that move, random state, cache, export, loading."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.runtimes.emulator.contract.models import Regression, data, largest_difference, options


def cached(poptorch: ModuleType, folder: Path, **layout: int) -> Any:
    made = options(poptorch, **layout)
    made.enableExecutableCaching(str(folder))
    return made


def compile_training(
    poptorch: ModuleType, folder: Path, *, lr: float = 1e-3, decay: float = 0.01, seed: int = 1, rows: int = 4
) -> None:
    model = Regression(poptorch.identity_loss, seed=seed)
    wanted = cached(poptorch, folder)
    wanted.randomSeed(seed)
    adamw = poptorch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    adamw.variable_attrs.markAsConstant("weight_decay")
    poptorch.trainingModel(model, wanted, adamw).compile(*data(rows))


@pytest.mark.parametrize(
    ("change", "executables"),
    [({}, 1), ({"lr": 1.0}, 1), ({"seed": 2}, 1), ({"decay": 0.1}, 2), ({"rows": 8}, 2)],
    ids=["nothing", "learning rate", "seed and weights", "weight decay", "shape"],
)
def test_an_executable_is_found_again_by_its_content(
    poptorch: ModuleType, tmp_path: Path, change: dict[str, Any], executables: int
) -> None:
    compile_training(poptorch, tmp_path)
    compile_training(poptorch, tmp_path, **change)
    assert len(list(tmp_path.glob("*.popef"))) == executables


def test_an_offline_target_compiles_and_does_not_run(poptorch: ModuleType, tmp_path: Path) -> None:
    wanted = cached(poptorch, tmp_path)
    wanted.useOfflineIpuTarget()
    model = poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), wanted)
    model.compile(torch.zeros(2, 4))
    assert model.isCompiled()
    assert not model.isAttachedToDevice()
    assert len(list(tmp_path.glob("*.popef"))) == 1
    with pytest.raises(AssertionError, match="offline"):
        model(torch.zeros(2, 4))


def test_attach_and_detach(poptorch: ModuleType) -> None:
    model = poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), options(poptorch))
    with pytest.raises(poptorch.Error, match="has not been compiled"):
        model.detachFromDevice()
    model.compile(torch.zeros(2, 4))
    assert model.isAttachedToDevice()
    model.detachFromDevice()
    assert not model.isAttachedToDevice()
    with pytest.raises(poptorch.Error, match="not attached"):
        model.detachFromDevice()
    model.attachToDevice()
    assert model(torch.zeros(2, 4)).shape == (2, 2)


def test_an_inference_model_follows_the_training_model(poptorch: ModuleType) -> None:
    x, y = data(8)
    model = Regression(poptorch.identity_loss)
    training = poptorch.trainingModel(model, options(poptorch), poptorch.optim.SGD(model.parameters(), lr=0.5))
    inference = poptorch.inferenceModel(model, options(poptorch))
    before = inference(x)
    training(x, y)
    after = inference(x)
    assert largest_difference([before], [after]) > 1e-3
    training.destroy()
    assert torch.allclose(after, model(x), atol=1e-6)


def test_weights_written_on_the_host_count_once_copied(poptorch: ModuleType) -> None:
    model = torch.nn.Linear(4, 2, bias=False)
    inference = poptorch.inferenceModel(model, options(poptorch))
    x = torch.ones(1, 4)
    first = inference(x)
    with torch.no_grad():
        model.weight.zero_()
    assert torch.equal(inference(x), first)
    inference.copyWeightsToDevice()
    assert torch.equal(inference(x), torch.zeros(1, 2))


class Dropping(torch.nn.Module):
    """Dropout of ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x, 0.5, training=True)


def test_the_random_state_is_saved_and_restored(poptorch: ModuleType) -> None:
    wanted = options(poptorch)
    wanted.randomSeed(7)
    model = poptorch.inferenceModel(Dropping(), wanted)
    x = torch.ones(64)
    first = model(x)
    state = model.rng_state
    second, third = model(x), model(x)
    assert not torch.equal(second, third)
    assert not torch.equal(first, second)
    model.rng_state = state
    assert torch.equal(model(x), second)
    assert torch.equal(model(x), third)


def test_a_seed_decides_the_random_numbers(poptorch: ModuleType) -> None:
    def drawn(seed: int) -> torch.Tensor:
        wanted = options(poptorch)
        wanted.randomSeed(seed)
        return poptorch.inferenceModel(Dropping(), wanted)(torch.ones(64))

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # torch 2.0's, of itself
def test_an_exported_executable_runs_in_another_model(poptorch: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "model.poptorch"
    wanted = options(poptorch)
    wanted.useOfflineIpuTarget(poptorch.ipuHardwareVersion())
    poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), wanted).compileAndExport(
        str(path), torch.zeros(2, 4), export_model=False
    )
    model = Regression(poptorch.identity_loss, seed=9).eval()
    loaded = poptorch.inferenceModel(model, options(poptorch))
    loaded.loadExecutable(str(path))
    x, _ = data(2)
    assert loaded.isCompiled()
    assert torch.allclose(loaded(x), model(x), atol=1e-6)


def test_a_file_that_is_no_executable_is_refused(poptorch: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    model = poptorch.inferenceModel(Regression(poptorch.identity_loss).eval(), options(poptorch))
    with pytest.raises(poptorch.Error):
        model.loadExecutable(str(tmp_path / "other"))
