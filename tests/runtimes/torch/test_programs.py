"""Whose folder the compiler writes to, and that a compiled model is the eager one.

The compiler's tracing is genuine; its backend that writes C++ takes half a minute and more and is left to
``python -m benchmarks.compiled_start``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from podsquad.runtimes.torch.programs import compile_model, tell_compiled_anew, use_programs
from podsquad.runtimes.torch.reader import summed_loss
from podsquad.runtimes.torch.static import StaticSize
from tests.runtimes.torch.encoders import KINDS, form_of, make_encoder, make_sequences
from tests.runtimes.torch.made_up import Recorder

SIZE = StaticSize(tokens=256, sequences=9, longest=64)


# torch's compiler uses what torch itself calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_model_is_the_eager_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = torch.nn.Module.compile

    def without_cpp(module: torch.nn.Module, **options: object) -> None:
        genuine(module, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", without_cpp)
    model = make_encoder(kind, torch.float32).train()
    names = list(model.state_dict())
    found = []
    for compiled in (False, True):
        if compiled:
            torch._dynamo.reset()
            compile_model(model)
        model.zero_grad()
        sequences = make_sequences()
        labels = torch.zeros(SIZE.sequences, dtype=torch.int64)
        labels[: len(sequences)] = torch.arange(len(sequences)) % 4
        batch = form_of(model, "packed", SIZE).batch(sequences, np.array([len(each) // 2 for each in sequences]))
        loss = summed_loss(model, batch, labels, labels)
        loss.backward()
        found.append((float(loss.detach()), {name: weight.grad.clone() for name, weight in model.named_parameters()}))
    (eager_loss, eager), (loss, gradients) = found
    assert loss == pytest.approx(eager_loss, rel=1e-6)
    assert list(model.state_dict()) == names
    scale = max(float(gradient.abs().max()) for gradient in eager.values())
    for name, gradient in eager.items():
        assert torch.allclose(gradients[name], gradient, rtol=1e-5, atol=1e-5 * scale), name


@pytest.mark.parametrize(("rank", "name"), [(0, "programs"), (2, "programs-2")])
def test_a_training_compiles_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, name: str) -> None:
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_FX_GRAPH_CACHE", "TORCHINDUCTOR_AUTOGRAD_CACHE"):
        monkeypatch.setenv(variable, "before")
    programs, work = tmp_path / "programs", tmp_path / "work"
    (programs / "fxgraph").mkdir(parents=True)
    (programs / "fxgraph" / "graph").write_text("a program")
    (work / name / "left").mkdir(parents=True)
    use_programs(programs, work, rank)
    copy = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert copy == work / name
    assert (copy / "fxgraph" / "graph").read_text() == "a program"
    assert not (copy / "left").exists()


@pytest.mark.parametrize("count", [0, 2])
def test_what_is_compiled_though_the_executable_should_hold_it_is_told(count: int) -> None:
    counters = torch._dynamo.utils.counters["inductor"]
    before, events = counters["fxgraph_cache_miss"], Recorder()
    counters["fxgraph_cache_miss"] = count
    try:
        tell_compiled_anew(events)  # type: ignore[arg-type]
    finally:
        counters["fxgraph_cache_miss"] = before
    told = [message for message, level in events.of("log") if level == "warning"]
    assert len(told) == bool(count)
    assert all("2 programs were compiled anew" in message for message in told)
