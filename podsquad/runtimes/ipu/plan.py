"""The executable's plan: placement, batch arithmetic, memory, and the key of its programs.

plan.json is a function of the settings that shape the graph, the features' shape and the SDK: no epochs, no learning
rate, no data, no times. Runs on Python 3.8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from podsquad.errors import DataError
from podsquad.runtimes.ipu.memory import assumptions, estimate_ipus
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan
from podsquad.store.durable import canonical_json

FORMAT_VERSION = 1
# What of a model's config a graph does not hold.
_NOT_IN_GRAPH = (
    "_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "architectures",
    "id2label",
    "label2id",
)
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
        raise DataError("the model's config tells no sizes of an encoder", do="set model.base to a RoBERTa")
    shape = {"max_length": layout["max_length"], "precision": training["precision"]}
    ipus = estimate_ipus(plan, sizes, ipu, **shape)
    fullest = max(ipus, key=lambda each: each.total_bytes)
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
        "graph_key": graph_key(plan, settings, layout, config, versions["poptorch"]),
        "versions": dict(versions),
    }


def graph_key(
    plan: PodPlan,
    settings: Mapping[str, Any],
    layout: Mapping[str, Any],
    config: Mapping[str, Any],
    sdk: str,
) -> str:
    """Return the hash (32 digits) of what shapes the programs: graph, constants, session options, the SDK's version.

    Neither weights, data, learning rate, loss scaling nor seed are in it: those are variables of the programs; nor the
    versions of libraries, whose share in a graph poptorch's own hash covers.
    """
    record = {
        "config": {name: value for name, value in config.items() if name not in _NOT_IN_GRAPH},
        "pod": {name: value for name, value in plan.as_json().items() if name != "pod"},  # whose IPUs: no matter
        "max_length": layout["max_length"],
        "uses_token_types": layout["uses_token_types"],
        "precision": settings["training"]["precision"],
        "weight_decay": settings["training"]["weight_decay"],
        "ipu": {name: settings["ipu"][name] for name in _IPU_IN_GRAPH},
        "emulated": bool(settings["runtime"]["emulated"]),
        "sdk": sdk,
    }
    return hashlib.sha256(canonical_json(record).encode("utf-8")).hexdigest()[:32]


def check_key(plan: Mapping[str, Any], key: str) -> None:
    """Raise DataError unless the executable's programs are of the graph that these settings and features make."""
    if plan["graph_key"] != key:
        raise DataError(
            "the executable's programs are of another graph than these settings and features make",
            why="it was made for others",
            do="delete that executable; the next run makes it again",
        )
