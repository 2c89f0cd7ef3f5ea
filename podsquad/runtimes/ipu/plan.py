"""The executable's plan: placement, batch arithmetic, memory, and its graph, whose hash is the key of its programs.

plan.json is a function of the settings that shape the graph, the features' shape and the SDK: no epochs, no learning
rate, no data, no times. Runs on Python 3.8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from podsquad.errors import DataError
from podsquad.runtimes.ipu.memory import assumptions, estimate_ipus
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan
from podsquad.store.durable import canonical_json

FORMAT_VERSION = 2
# What of a model's config a graph does not hold.
_NOT_IN_GRAPH = (
    "_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "architectures",
    "id2label",
    "label2id",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "finetuning_task",
)
# What of a plan a graph does not hold: whose IPUs they are; how many hosts, which counts where each has a process.
_NOT_OF_PLAN = ("pod", "num_hosts")
_IPU_IN_GRAPH = (
    "stochastic_rounding", "bias_correction", "half_partials", "matmul_proportion", "recompute",
    "replicated_tensor_sharding", "optimizer_state_offchip", "embedding_serialization",
)  # fmt: skip


def make_plan(
    plan: PodPlan,
    settings: Mapping[str, Any],
    layout: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    num_parameters: int,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return plan.json's content. ``config`` is the model's, as a dictionary; ``settings["ipu"]`` is resolved."""
    training, ipu, emulated = settings["training"], settings["ipu"], bool(settings["runtime"]["emulated"])
    sizes = ModelSizes.of(config)
    if sizes is None:
        raise DataError(
            "the model's config tells no sizes of an encoder",
            why="layers are laid over IPUs by number, and memory is estimated by width",
            do="set model.base to a RoBERTa",
        )
    shape = {"max_length": layout["max_length"], "precision": training["precision"]}
    ipus = estimate_ipus(plan, sizes, ipu, **shape)
    fullest = max(ipus, key=lambda each: each.total_bytes)
    graph = graph_of(plan, settings, layout, config, versions["poptorch"])
    return {
        "format_version": FORMAT_VERSION,
        "device": "ipu",
        "emulated": emulated,
        "precision": training["precision"],
        "formulation": {"value": "padded", "reason": "a compiled program takes batches of one shape"},
        "compiled": {"value": True, "reason": "for an offline target: no IPU was attached"},
        "bias_correction": {
            "value": bool(ipu["bias_correction"]),
            "reason": "the trainer asks for none, but since SDK 2.4 poptorch lowers both to bias-corrected Adam"
            if ipu["bias_correction"]
            else "ipu.bias_correction says so, and the emulation can",
        },
        "num_parameters": num_parameters,
        "pod": plan.as_json(),
        "max_length": layout["max_length"],
        "memory": {
            "total_bytes": fullest.total_bytes,
            "assumptions": f"IPU {fullest.ipu} of a replica, the fullest: " + assumptions(plan, sizes, ipu, **shape),
            "ipus": [each.as_json() for each in ipus],
        },
        "graph": graph,
        "graph_key": graph_key(graph),
        "versions": dict(versions),
    }


def graph_of(
    plan: PodPlan,
    settings: Mapping[str, Any],
    layout: Mapping[str, Any],
    config: Mapping[str, Any],
    sdk: str,
) -> dict[str, Any]:
    """Return what shapes the programs, as JSON values: graph, constants, session options, the SDK's version.

    Neither weights, data, learning rate, loss scaling nor seed are in it: those are variables of the programs; nor the
    versions of libraries, whose share in a graph poptorch's own hash covers.
    """
    emulated = bool(settings["runtime"]["emulated"])
    graph = {
        "config": {name: value for name, value in config.items() if name not in _NOT_IN_GRAPH},
        "pod": {name: value for name, value in plan.as_json().items() if name not in _NOT_OF_PLAN},
        # PopART lowers a graph for the replicas of one process, with their number and the number of all.
        "processes": 1 if emulated else plan.num_hosts,
        "max_length": layout["max_length"],
        "uses_token_types": layout["uses_token_types"],
        "precision": settings["training"]["precision"],
        "weight_decay": settings["training"]["weight_decay"],
        "ipu": {name: settings["ipu"][name] for name in _IPU_IN_GRAPH},
        "emulated": emulated,
        "sdk": sdk,
    }
    as_json: dict[str, Any] = json.loads(canonical_json(graph))
    return as_json


def graph_key(graph: Mapping[str, Any]) -> str:
    """Return the hash (32 digits) that names the programs of a graph."""
    return hashlib.sha256(canonical_json(graph).encode("utf-8")).hexdigest()[:32]


def check_graph(plan: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
    """Raise DataError unless the executable's programs are of the graph that these settings and features make."""
    if plan["graph_key"] != graph_key(graph):
        raise DataError(
            "the executable's programs are of another graph than these settings and features make",
            why="it was made for others: " + tell_differences(plan["graph"], graph),
            do="delete that executable; the next run makes it again",
        )


def tell_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Name what differs between two graphs, with both values."""
    return ", ".join(_differences(one, other, ""))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        ours, theirs = one.get(name), other.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            yield from _differences(ours, theirs, f"{prefix}{name}.")
        elif ours != theirs:
            yield f"{prefix}{name} is {ours}, not {theirs}"
