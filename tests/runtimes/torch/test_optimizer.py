"""The schedule is transformers', and weight decay spares biases and layer norms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaForQuestionAnswering, get_linear_schedule_with_warmup

from podsquad.runtimes.torch.optimizer import (
    all_finite,
    decayed_parameters,
    learning_rate_at,
    make_optimizer,
    optimizer_arrays,
    restore_optimizer,
    set_learning_rate,
    warmup_steps,
)
from tests.runtimes.torch.made_up import make_settings


@pytest.mark.parametrize(("total", "share"), [(100, 0.25), (7, 0.1), (5, 0.0), (1, 0.9), (692, 0.25)])
def test_the_schedule_is_transformers_one(total: int, share: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=6e-5)
    warmup = warmup_steps(total, share)
    theirs = get_linear_schedule_with_warmup(optimizer, warmup, total)
    for step in range(total):
        assert learning_rate_at(step, total, warmup, 6e-5) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        theirs.step()
    assert learning_rate_at(total, total, warmup, 6e-5) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)


def small_model() -> RobertaForQuestionAnswering:
    torch.manual_seed(0)
    return RobertaForQuestionAnswering(
        RobertaConfig(
            vocab_size=11,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            pad_token_id=1,
        )
    )


def test_biases_and_layer_norms_are_spared() -> None:
    model = small_model()
    decayed = decayed_parameters(model)
    spared = {name for name, _ in model.named_parameters()} - decayed
    assert all(name.endswith("bias") or "LayerNorm" in name for name in spared)
    assert "roberta.embeddings.LayerNorm.weight" in spared
    assert {"roberta.embeddings.word_embeddings.weight", "qa_outputs.weight"} <= decayed


def test_only_the_decayed_shrink_without_a_gradient() -> None:
    model = small_model()
    training = make_settings(training__weight_decay=0.5, training__learning_rate=0.1)["training"]
    optimizer = make_optimizer(model, training)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = decayed_parameters(model)
    for name, parameter in model.named_parameters():
        expected = before[name] * (0.95 if name in decayed else 1.0)
        assert torch.allclose(parameter, expected), name


def test_the_optimizer_s_state_comes_back_bit_for_bit() -> None:
    ends = []
    for restored in (False, True):
        model = small_model()
        optimizer = make_optimizer(model, make_settings()["training"])
        for step in range(4):
            if restored and step == 2:
                arrays = {name: np.array(value) for name, value in optimizer_arrays(model, optimizer).items()}
                optimizer = make_optimizer(model, make_settings()["training"])
                restore_optimizer(model, optimizer, arrays)
            set_learning_rate(optimizer, 0.1 / (step + 1))
            for number, parameter in enumerate(model.parameters()):
                parameter.grad = torch.full_like(parameter, 0.01 * (step + number + 1))
            optimizer.step()
        ends.append(model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_bad_weights_are_seen(bad: float) -> None:
    assert all_finite([torch.zeros(3)])
    assert not all_finite([torch.zeros(3), torch.tensor([0.0, bad])])
