"""The key of the programs: what shapes a graph is in it, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.errors import DataError
from podsquad.runtimes.ipu.plan import FORMAT_VERSION, check_key, graph_key, make_plan
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


def key(
    config: dict[str, Any] = CONFIG, layout: dict[str, Any] = LAYOUT, sdk: str = VERSIONS["poptorch"], **changes: Any
) -> str:
    given = {name.replace("__", "."): value for name, value in changes.items()}
    settings = load_settings("pod16", given).settings
    sections = runtime_sections(settings)
    return graph_key(PodPlan.of(sections["ipu"], settings.training.batch_size), sections, layout, config, sdk)


@pytest.mark.parametrize(
    "change",
    [
        {"training__learning_rate": 1e-3},
        {"training__seed": 7},
        {"training__epochs": 5},
        {"training__beta1": 0.8},
        {"training__epsilon": 1e-6},
        {"training__warmup_share": 0.0},
        {"ipu__loss_scaling": 128.0},
        {"ipu__pod": "pod32", "ipu__replication": 4, "ipu__inference_replication": 4},
        {"ipu__hosts": "a,b"},
        {"runtime__threads": 3},
        {"config": CONFIG | {"_name_or_path": "/elsewhere", "transformers_version": "4.30"}},
        {"layout": LAYOUT | {"splits": {"train": {"num_features": 7}}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_a_variable_of_the_program_is_not_in_the_key(change: dict[str, Any]) -> None:
    assert key(**change) == key()


@pytest.mark.parametrize(
    "change",
    [
        {"training__weight_decay": 0.0},
        {"training__precision": "float32"},
        {"training__batch_size": 512},
        {"runtime__emulated": True},
        {"ipu__layers_per_ipu": "1,3,4,4"},
        {"ipu__micro_batch": 2},
        {"ipu__inference_device_iterations": 1},
        {"ipu__half_partials": False},
        {"ipu__matmul_proportion": "0.2"},
        {"ipu__recompute": False},
        {"ipu__stochastic_rounding": False},
        {"ipu__optimizer_state_offchip": True},
        {"ipu__replicated_tensor_sharding": False},
        {"ipu__embedding_serialization": 2},
        {"config": CONFIG | {"hidden_dropout_prob": 0.0}},
        {"layout": LAYOUT | {"max_length": 512}},
        {"layout": LAYOUT | {"uses_token_types": True}},
        {"sdk": "3.4.0"},
    ],
    ids=str,
)
def test_what_shapes_the_graph_is(change: dict[str, Any]) -> None:
    assert key(**change) != key()


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
    check_key(plan, key())
    with pytest.raises(DataError, match="of another graph"):
        check_key(plan, key(training__weight_decay=0.0))
