"""A training step asks nothing of the device: no value that the host would have to wait for.

Without a GPU the operators are watched that copy a value to the host, or whose result's size depends on values. On a
GPU ``python -m benchmarks.gpu_squad --sections data waits`` lets torch itself refuse every wait.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from podsquad.runtimes.job import StopRequest
from tests.runtimes.torch.made_up import make_features, make_settings
from tests.runtimes.torch.test_train import make_trainer

WAITING = {
    *("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero"),
    *("aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount", "aten::repeat_interleave"),
}


class Watch(TorchDispatchMode):
    """Notes the operators that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        self.seen += 1
        indices = args[1] if name in ("aten::index", "aten::index_put_", "aten::index_put") else ()
        is_masked = any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)
        if name in WAITING or is_masked:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


def some_value(x: torch.Tensor) -> object:
    return float(x.sum())


def a_mask(x: torch.Tensor) -> object:
    return x[x > 0]


@pytest.mark.parametrize("wait", [some_value, a_mask])
def test_waits_are_seen(wait: Any) -> None:
    with Watch() as watch:
        wait(torch.randn(5))
    assert watch.waits


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("norm", [None, 1.0])
def test_a_step_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouped: bool, norm: float | None
) -> None:
    settings = make_settings(
        training__max_gradient_norm=norm, training__micro_batch_tokens=64, runtime__formulation="packed"
    )
    trainer = make_trainer(make_features(tmp_path / "features"), settings)
    trainer.feeder._form = replace(trainer.feeder._form, grouped=grouped)
    monkeypatch.setattr(trainer, "_look", lambda: None)  # on a CPU after each step, on a GPU after every twentieth
    trainer.model.train()
    with Watch() as watch:
        for _ in range(2):
            assert trainer._do_step(StopRequest())
    assert watch.seen > 100
    assert watch.waits == []
