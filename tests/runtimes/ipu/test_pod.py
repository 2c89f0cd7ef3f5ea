"""Placement and batch arithmetic of the PODs."""

from __future__ import annotations

from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.runtimes.ipu.pod import POD_IPUS, ModelSizes, PodPlan


def plan_of(**changes: Any) -> PodPlan:
    given = {name.replace("__", "."): value for name, value in changes.items()}
    settings = load_settings("pod16", given).settings
    return PodPlan.of(settings.model_dump(mode="json")["ipu"], settings.training.batch_size)


def test_the_reference_run_is_what_the_profile_comes_to() -> None:
    plan = plan_of()
    assert (plan.replication, plan.ipus_per_replica, plan.num_ipus) == (4, 4, 16)
    assert plan.layers_per_ipu == (0, 4, 4, 4)
    assert plan.gradient_accumulation == 16
    assert plan.batch == 4 * 1 * 4 * 16 == 256
    assert plan.inference_batch == 2 * 5 * 4 == 40
    assert plan.steps(88_568, 2) == 690
    assert plan.least_accumulation == 7
    assert plan.num_hosts == 1


@pytest.mark.parametrize(
    ("pod", "replicas", "accumulation"),
    [("pod4", 1, 64), ("pod8", 2, 32), ("pod16", 4, 16), ("pod32", 8, 8), ("pod64", 16, 4)],
)
def test_every_pod_makes_the_same_batch(pod: str, replicas: int, accumulation: int) -> None:
    plan = plan_of(ipu__pod=pod)
    assert POD_IPUS[pod] == plan.num_ipus == int(pod.removeprefix("pod"))
    assert (plan.replication, plan.gradient_accumulation, plan.batch) == (replicas, accumulation, 256)


def test_what_is_named_is_not_derived() -> None:
    plan = plan_of(ipu__replication=2, ipu__gradient_accumulation=10, ipu__device_iterations=3)
    assert (plan.replication, plan.gradient_accumulation, plan.num_ipus) == (2, 10, 8)
    assert plan.batch == 4 * 3 * 2 * 10
    assert "3 device iterations" in plan.arithmetic()


def test_an_accumulation_is_of_one_update_whatever_the_device_iterations() -> None:
    assert plan_of(ipu__device_iterations=4).gradient_accumulation == 16


@pytest.mark.parametrize(("per_host", "hosts"), [(64, 1), (16, 1), (8, 2), (5, 4)])
def test_hosts_are_counted_by_what_one_of_them_drives(per_host: int, hosts: int) -> None:
    assert plan_of(ipu__ipus_per_host=per_host).num_hosts == hosts


def test_the_plan_as_json_says_what_it_comes_to() -> None:
    told = plan_of().as_json()
    assert told["layers_per_ipu"] == [0, 4, 4, 4]
    assert (told["num_ipus"], told["batch"], told["inference_batch"]) == (16, 256, 40)


@pytest.mark.parametrize("lacking", ["num_hidden_layers", "vocab_size", "intermediate_size"])
def test_sizes_that_a_config_does_not_tell_are_not_made_up(lacking: str) -> None:
    config = {
        "num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2,
        "vocab_size": 40, "max_position_embeddings": 20, "type_vocab_size": 1,
    }  # fmt: skip
    assert ModelSizes.of(config) == ModelSizes(2, 8, 16, 2, 40, 20, 1)
    del config[lacking]
    assert ModelSizes.of(config) is None
