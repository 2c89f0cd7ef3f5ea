"""What is compiled, and whose folder the compiler writes to; compiling itself takes half a minute and is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from transformers import RobertaConfig, RobertaForQuestionAnswering

from podsquad.errors import SettingsError
from podsquad.runtimes.torch.programs import compile_parts, use_programs


# torch's compiler uses what torch itself calls deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_three_parts_of_each_layer_are_compiled_under_their_old_names() -> None:
    model = RobertaForQuestionAnswering(
        RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    )
    names = list(model.state_dict())
    assert compile_parts(model) == 6
    assert list(model.state_dict()) == names
    layer = model.roberta.encoder.layer[1]
    assert all(part._compiled_call_impl for part in (layer.intermediate, layer.output, layer.attention.output))
    assert not model.roberta.encoder.layer[0].attention.self._compiled_call_impl


def test_a_model_of_unknown_parts_is_refused() -> None:
    with pytest.raises(SettingsError, match="no part of Linear"):
        compile_parts(torch.nn.Linear(2, 2))


def test_a_training_compiles_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_FX_GRAPH_CACHE"):
        monkeypatch.setenv(name, "before")
    programs, work = tmp_path / "programs", tmp_path / "work"
    (programs / "fxgraph").mkdir(parents=True)
    (programs / "fxgraph" / "graph").write_text("a program")
    (work / "programs" / "left").mkdir(parents=True)
    use_programs(programs, work)
    copy = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert copy == work / "programs"
    assert (copy / "fxgraph" / "graph").read_text() == "a program"
    assert not (copy / "left").exists()
