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

from podsquad.errors import StoppedError
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch import compile as compile_module
from podsquad.runtimes.torch import train as train_module
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.programs import compile_model, tell_compiled_anew, use_programs
from podsquad.runtimes.torch.reader import summed_loss
from podsquad.runtimes.torch.static import StaticSize
from podsquad.runtimes.torch.train import train_job
from tests.runtimes.torch.encoders import KINDS, form_of, make_encoder, make_sequences
from tests.runtimes.torch.made_up import Recorder, make_features, make_job, make_settings

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


@pytest.mark.parametrize(("miss", "bypass"), [(0, 0), (2, 0), (0, 2)])
def test_what_is_compiled_though_the_executable_should_hold_it_is_told(
    miss: int, bypass: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters, events = torch._dynamo.utils.counters["inductor"], Recorder()
    monkeypatch.setitem(counters, "fxgraph_cache_miss", miss)
    monkeypatch.setitem(counters, "fxgraph_cache_bypass", bypass)
    tell_compiled_anew(events)  # type: ignore[arg-type]
    told = [message for message, level in events.of("log") if level == "warning"]
    assert len(told) == bool(miss + bypass)
    assert all("2 programs were compiled anew" in message for message in told)


def test_also_a_stopped_training_tells_what_was_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(runtime__compiled="always", training__balanced=True)
    features, stop, events = make_features(tmp_path / "features"), StopRequest(), Recorder()
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_FX_GRAPH_CACHE", "TORCHINDUCTOR_AUTOGRAD_CACHE"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr(compile_module, "warm_up", lambda *_: None)
    compile_job(make_job(tmp_path, "compile", settings, features=features), Recorder(), StopRequest())  # type: ignore[arg-type]
    monkeypatch.setattr(train_module, "compile_model", lambda model: None)
    monkeypatch.setitem(torch._dynamo.utils.counters["inductor"], "fxgraph_cache_miss", 2)
    stop.set("asked by the test")
    job = make_job(tmp_path, "train", settings, features=features, executable=tmp_path / "compile")
    with pytest.raises(StoppedError):
        train_job(job, events, stop)  # type: ignore[arg-type]
    assert any("2 programs were compiled anew" in message for message, _ in events.of("log"))
