"""The estimate of an IPU's memory: its counts are the model's, and each setting moves it the way that it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import RobertaConfig, RobertaForQuestionAnswering

from podsquad.config.load import load_settings
from podsquad.runtimes.ipu.memory import (
    IPU_BYTES,
    IpuMemory,
    estimate_ipus,
    parameters_of_embeddings,
    parameters_of_layer,
)
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan

BASE = ModelSizes(12, 768, 3072, 12, 50265, 514, 1)


def ipus(**changes: Any) -> list[IpuMemory]:
    given = {name.replace("__", "."): value for name, value in changes.items()}
    settings = load_settings("pod16", given).settings
    ipu = settings.model_dump(mode="json")["ipu"]
    plan = PodPlan.of(ipu, settings.training.batch_size)
    length, precision = settings.features.max_length, settings.training.precision
    return estimate_ipus(plan, BASE, ipu, max_length=length, precision=precision)


def fullest(**changes: Any) -> int:
    return max(each.total_bytes for each in ipus(**changes))


@pytest.mark.parametrize("sizes", [ModelSizes(2, 16, 40, 2, 100, 50, 2), BASE], ids=["tiny", "roberta-base"])
def test_the_parameters_are_the_model_s(sizes: ModelSizes) -> None:
    config = RobertaConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads,
        intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.num_positions,
        type_vocab_size=sizes.num_token_types,
    )
    with torch.device("meta"):
        model = RobertaForQuestionAnswering(config)
    head = 2 * sizes.hidden_size + 2
    counted = parameters_of_embeddings(sizes) + sizes.num_layers * parameters_of_layer(sizes) + head
    assert counted == sum(parameter.numel() for parameter in model.parameters())


def test_the_reference_run_fits_and_so_does_every_part_of_it() -> None:
    assert IPU_BYTES == 900_000_000
    estimates = ipus()
    assert [each.ipu for each in estimates] == [0, 1, 2, 3]
    assert all(each.total_bytes < IPU_BYTES for each in estimates)
    weights = sum(each.weights_bytes for each in estimates)
    assert weights == 2 * (parameters_of_embeddings(BASE) + 12 * parameters_of_layer(BASE) + 2 * 768 + 2)


@pytest.mark.parametrize(
    "change",
    [
        {"ipu__micro_batch": 16},
        {"ipu__recompute": False},
        {"features__max_length": 512, "ipu__micro_batch": 12},
        {"training__precision": "float32", "ipu__micro_batch": 8},
    ],
    ids=lambda change: " ".join(change),
)
def test_what_takes_too_much_is_seen(change: dict[str, Any]) -> None:
    assert fullest(**change) > IPU_BYTES > fullest()


def test_without_recomputation_it_does_not_fit() -> None:
    assert fullest(ipu__recompute=False) > IPU_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"ipu__optimizer_state_offchip": True},
        {"ipu__micro_batch": 2},
        {"ipu__matmul_proportion": "0.1"},
        {"ipu__pod": "pod32"},
    ],
    ids=lambda change: " ".join(change),
)
def test_what_users_do_for_want_of_memory_helps(change: dict[str, Any]) -> None:
    assert fullest(**change) < fullest()


def test_fewer_layers_beside_the_embeddings_help() -> None:
    assert fullest(ipu__layers_per_ipu="0,4,4,4") < fullest(ipu__layers_per_ipu="2,4,3,3")


def test_the_optimizer_s_state_is_shared_out_among_the_replicas() -> None:
    shared, whole = ipus(), ipus(ipu__replicated_tensor_sharding=False)
    for ours, theirs in zip(shared, whole, strict=True):
        assert ours.optimizer_bytes == theirs.optimizer_bytes // 4
        assert ours.total_bytes - ours.optimizer_bytes == theirs.total_bytes - theirs.optimizer_bytes


def test_earlier_stages_keep_more_micro_batches() -> None:
    estimates = ipus()
    per_micro_batch = 4 * 384 * 768 * 2  # features x tokens x width x 2 bytes
    assert [each.stash_bytes // per_micro_batch for each in estimates] == [7 * 1, 5 * 4, 3 * 4, 1 * 4]


def test_a_share_for_each_ipu_is_taken_for_that_ipu() -> None:
    shares = [each.temporary_bytes for each in ipus(ipu__matmul_proportion="0.1,0.2,0.3,0.4")]
    assert shares == [0, 180_000_000, 270_000_000, 360_000_000]  # the embeddings alone make no product
