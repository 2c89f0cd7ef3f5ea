"""Reading an ``ipu_config.json``, of today's form or an older one, into the names of the settings' ``ipu`` section.

optimum-graphcore 0.7.1 refuses what its earlier versions wrote: a replication per POD type, ``profile_dir``,
``use_popdist``. Here they are brought up to date, and a note says what was done. Runs on Python 3.8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podsquad.errors import InputMissingError, SettingsError

_NAMES = {
    "layers_per_ipu": "layers_per_ipu",
    "ipus_per_replica": "ipus_per_replica",
    "replication_factor": "replication",
    "inference_replication_factor": "inference_replication",
    "gradient_accumulation_steps": "gradient_accumulation",
    "device_iterations": "device_iterations",
    "inference_device_iterations": "inference_device_iterations",
    "matmul_proportion": "matmul_proportion",
    "recompute_checkpoint_every_layer": "recompute",
    "replicated_tensor_sharding": "replicated_tensor_sharding",
    "optimizer_state_offchip": "optimizer_state_offchip",
    "enable_half_partials": "half_partials",
    "embedding_serialization_factor": "embedding_serialization",
}
_LEFT_OUT = {
    "profile_dir": "profiles are asked for by POPLAR_ENGINE_OPTIONS",
    "use_popdist": "podsquad starts the program under poprun where the plan takes more than one host",
    "executable_cache_dir": "podsquad keeps executables in its store",
    "seed": "training.seed says so",
    "sharded_execution_for_inference": "prediction always runs sharded",
    "enable_half_first_order_momentum": "training.precision says so",
    "inference_layers_per_ipu": "prediction is laid out as training is",
    "inference_ipus_per_replica": "prediction is laid out as training is",
    "inference_matmul_proportion": "prediction is laid out as training is",
    "inference_embedding_serialization_factor": "prediction is laid out as training is",
    "ipus_per_pod": "ipu.pod says so",
}
# Names of what must be so for podsquad's arithmetic to hold, and the values at which it does.
_MUST_BE: dict[str, tuple[Any, ...]] = {
    "output_mode": ("final", "default"),
    "auto_loss_scaling": (False,),
    "explicit_ir_inference": (False,),
    "execute_encoder_on_cpu_for_generation": (False,),
    "projection_serialization_factor": (None, 1),
    "inference_projection_serialization_factor": (None, 1),
    "serialized_embedding_splits_per_ipu": (None,),
    "inference_serialized_embedding_splits_per_ipu": (None,),
    "serialized_projection_splits_per_ipu": (None,),
    "inference_serialized_projection_splits_per_ipu": (None,),
    "parallelize_kwargs": (None, {}),
    "inference_parallelize_kwargs": (None, {}),
}
_NO_CONTENT = ("transformers_version", "optimum_version", "name_or_path", "_name_or_path", "_commit_hash")


def resolve_ipu(ipu: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the ``ipu`` section with what ``config_file`` says, if it names one, and notes on what was changed.

    Raises InputMissingError and SettingsError as ``read_ipu_config`` does.
    """
    if ipu["config_file"] is None:
        return dict(ipu), []
    values, notes = read_ipu_config(ipu["config_file"], ipu["pod"])
    return {**ipu, **values}, notes


def read_ipu_config(path: str | Path, pod: str) -> tuple[dict[str, Any], list[str]]:
    """Return what an ipu_config.json says, by the names of the ``ipu`` section, and notes on what is not as it stands.

    Of a value per POD type that of ``pod`` counts. Raises InputMissingError when the file cannot be read, SettingsError
    when it is no such file, or asks for what podsquad does not do.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputMissingError(
            f"ipu.config_file {path} cannot be read: {error.strerror or error}",
            why="it is not there, or this user may not read it",
            do="check ipu.config_file",
        ) from error
    except ValueError as error:
        raise _refused(path, f"it is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise _refused(path, "it holds no object")
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in raw.items():
        if name in _NAMES:
            if isinstance(value, dict):
                value = _for_pod(path, name, value, pod, notes)
            if value is not None:
                values[_NAMES[name]] = _checked(path, name, value)
        elif name in _LEFT_OUT:
            if value not in (None, "", False):
                notes.append(f"{name} is left out: {_LEFT_OUT[name]}")
        elif name in _MUST_BE:
            if value not in _MUST_BE[name]:
                raise _refused(path, f"{name} is {value!r}, which podsquad does not do")
        elif name not in _NO_CONTENT:
            raise _refused(path, f"it names {name}, which optimum-graphcore 0.7.1 does not know")
    if "layers_per_ipu" in values and "ipus_per_replica" not in values:
        values["ipus_per_replica"] = len(values["layers_per_ipu"])
    return values, [f"{Path(path).name}: {note}" for note in notes]


def _for_pod(path: str | Path, name: str, by_pod: Mapping[str, Any], pod: str, notes: list[str]) -> Any:
    chosen = pod if pod in by_pod else "default"
    if chosen not in by_pod:
        raise _refused(path, "{} has values for {}, none for {}".format(name, ", ".join(sorted(by_pod)), pod))
    notes.append("{} is {!r}, that of {} among {}".format(name, by_pod[chosen], chosen, ", ".join(sorted(by_pod))))
    return by_pod[chosen]


def _checked(path: str | Path, name: str, value: Any) -> Any:
    if name == "layers_per_ipu":
        if not isinstance(value, list) or not all(type(each) is int and each >= 0 for each in value) or not value:
            raise _refused(path, f"layers_per_ipu is {value!r}, not one number of layers for each IPU")
    elif name == "matmul_proportion":
        value = value if isinstance(value, list) else [value]
        if not value or not all(isinstance(each, (int, float)) and 0 < each <= 1 for each in value):
            raise _refused(path, f"matmul_proportion is {value!r}, not one or several shares")
    elif name in ("recompute_checkpoint_every_layer", "replicated_tensor_sharding", "optimizer_state_offchip",
                  "enable_half_partials"):  # fmt: skip
        if not isinstance(value, bool):
            raise _refused(path, f"{name} is {value!r}, neither true nor false")
    elif type(value) is not int or value < 1:
        raise _refused(path, f"{name} is {value!r}, not a whole number of at least 1")
    return value


def _refused(path: str | Path, problem: str) -> SettingsError:
    return SettingsError(
        f"ipu.config_file {path} cannot be used: {problem}",
        why="an ipu_config.json as optimum-graphcore writes it is expected",
        do="correct it, or leave ipu.config_file out and set the fields of the section ipu",
    )
