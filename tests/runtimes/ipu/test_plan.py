"""The key of the programs: what shapes a graph is in it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from podsquad.config.fields import settings_fields
from podsquad.config.load import load_settings
from podsquad.errors import DataError
from podsquad.runtimes.ipu.plan import FORMAT_VERSION, check_graph, graph_key, graph_of, make_plan
from podsquad.runtimes.ipu.pod import PodPlan
from podsquad.runtimes.plan_file import read_plan
from podsquad.stages.resolved import runtime_sections

CONFIG = {
    "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
    "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "hidden_dropout_prob": 0.1,
    "transformers_version": "4.29.2", "_name_or_path": "/somewhere",
}  # fmt: skip
LAYOUT = {"max_length": 384, "uses_token_types": False}
VERSIONS = {"poptorch": "3.3.0", "torch": "2.0.1"}


def graph(
    config: dict[str, Any] = CONFIG,
    layout: dict[str, Any] = LAYOUT,
    sdk: str = VERSIONS["poptorch"],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    loaded = load_settings("pod16", settings).settings
    sections = runtime_sections(loaded)
    return graph_of(PodPlan.of(sections["ipu"], loaded.training.batch_size), sections, layout, config, sdk)


def key(**changes: Any) -> str:
    return graph_key(graph(**changes))


VARIABLES: dict[str, Any] = {
    "training.learning_rate": 1e-3,
    "training.seed": 7,
    "training.epochs": 5,
    "training.beta1": 0.8,
    "training.beta2": 0.98,
    "training.epsilon": 1e-6,
    "training.warmup_share": 0.0,
    "training.checkpoint_interval_steps": 1,
    "ipu.loss_scaling": 128.0,
    "ipu.ipus_per_host": 16,  # one host all the same
    "ipu.hosts": "a,b",
    "ipu.partition": "night",
}
SHAPES: dict[str, Any] = {
    "training.weight_decay": 0.0,
    "training.precision": "float32",
    "training.batch_size": 512,
    "ipu.pod": "pod32",  # by its replicas
    "ipu.ipus_per_replica": 8,
    "ipu.layers_per_ipu": "1,3,4,4",
    "ipu.replication": 2,
    "ipu.gradient_accumulation": 32,
    "ipu.micro_batch": 2,
    "ipu.device_iterations": 2,
    "ipu.inference_replication": 1,
    "ipu.inference_micro_batch": 1,
    "ipu.inference_device_iterations": 1,
    "ipu.stochastic_rounding": False,
    "ipu.bias_correction": False,
    "ipu.half_partials": False,
    "ipu.matmul_proportion": "0.2",
    "ipu.recompute": False,
    "ipu.replicated_tensor_sharding": False,
    "ipu.optimizer_state_offchip": True,
    "ipu.embedding_serialization": 2,
}
# By their values alone; and what the checks refuse, or the torch runtime alone reads.
NOT_BY_THEMSELVES = {
    "ipu.config_file", "training.max_gradient_norm", "training.drop_last", "training.balanced",
    "training.micro_batch_tokens",
}  # fmt: skip
FOUR_HOSTS = {"ipu.pod": "pod64", "training.batch_size": 1024, "ipu.inference_replication": 4}


def test_every_setting_of_the_recipe_and_the_pod_is_judged() -> None:
    fields = {name for name in settings_fields() if name.startswith(("training.", "ipu."))}
    assert fields == VARIABLES.keys() | SHAPES.keys() | NOT_BY_THEMSELVES


@pytest.mark.parametrize("name", VARIABLES)
def test_a_setting_that_is_a_variable_of_the_program_is_not_in_the_key(name: str) -> None:
    assert key(settings={name: VARIABLES[name]}) == key()


@pytest.mark.parametrize("name", SHAPES)
def test_a_setting_that_shapes_the_graph_is_and_shapes_the_stage_too(name: str) -> None:
    assert key(settings={name: SHAPES[name]}) != key()
    assert "compile" in settings_fields()[name].shapes_in(load_settings("pod16").settings)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"ipu.pod": "pod32", "ipu.replication": 4, "ipu.inference_replication": 4}},
        {"settings": {"runtime.threads": 3}},
        {"config": CONFIG | {"_name_or_path": "/elsewhere", "transformers_version": "4.30"}},
        {"config": CONFIG | {"initializer_range": 0.1, "bos_token_id": 7, "eos_token_id": 8, "finetuning_task": "x"}},
        {"layout": LAYOUT | {"splits": {"train": {"num_features": 7}}}},
    ],
    ids=["POD by name", "threads", "config", "config of no operator", "features"],
)
def test_what_else_is_no_part_of_the_graph(change: dict[str, Any]) -> None:
    assert key(**change) == key()


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"runtime.emulated": True}},
        {"config": CONFIG | {"hidden_dropout_prob": 0.0}},
        {"config": CONFIG | {"pad_token_id": 0}},  # positions are counted from it
        {"layout": LAYOUT | {"max_length": 512}},
        {"layout": LAYOUT | {"uses_token_types": True}},
        {"sdk": "3.4.0"},
    ],
    ids=["emulated", "dropout", "padding", "length", "token types", "SDK"],
)
def test_what_else_shapes_the_graph(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_hosts_shape_the_graph_where_each_has_a_process() -> None:
    assert key(settings=FOUR_HOSTS | {"ipu.ipus_per_host": 16}) != key(settings=FOUR_HOSTS)
    emulated = FOUR_HOSTS | {"runtime.emulated": True}
    assert key(settings=emulated | {"ipu.ipus_per_host": 16}) == key(settings=emulated)  # one process


def test_a_plan_is_read_back_and_another_key_refused(tmp_path: Path) -> None:
    sections = runtime_sections(load_settings("pod16").settings)
    pod = PodPlan.of(sections["ipu"], 256)
    plan = make_plan(pod, sections, LAYOUT, CONFIG, num_parameters=1, versions=VERSIONS)
    assert plan["emulated"] is False
    assert plan["graph_key"] == key()
    other_libraries = make_plan(pod, sections, LAYOUT, CONFIG, num_parameters=1, versions={**VERSIONS, "torch": "2.1"})
    assert other_libraries["graph_key"] == key()
    assert plan["memory"]["total_bytes"] == max(each["total_bytes"] for each in plan["memory"]["ipus"])
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert read_plan(tmp_path, FORMAT_VERSION, "ipu") == plan
    check_graph(plan, graph())
    other = graph(config=CONFIG | {"num_hidden_layers": 6}, settings={"training.weight_decay": 0.0})
    with pytest.raises(DataError, match="of another graph") as caught:
        check_graph(plan, other)
    assert caught.value.why.endswith(": config.num_hidden_layers is 12, not 6, weight_decay is 0.01, not 0.0")
