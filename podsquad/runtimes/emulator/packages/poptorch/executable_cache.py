"""The executable cache: one ``<hash>.popef`` file per executable, found again by what the executable is made of.

In the hash: the graph (operators, shapes, types, stages, constants), the batch layout and output mode, the
optimizer's variant, types and constants, compiler options and patterns, the device's generation, the version of this
package and of torch. Not in it: weights, learning rate and other variable attributes, seeds, paths, names, whether a
device is attached. The file is JSON that says ``emulated`` and lists what the hash was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from typing import Any, Optional

import torch

from . import machine
from ._logging import logger
from .optimizer_settings import OptimizerSettings

_FORMAT = "podsquad emulated program 1"
_NOT_IN_THE_GRAPH = frozenset(
    (
        "cachePath",
        "enableEngineCaching",
        "saveInitializersToFile",
        "compilation_progress_bar_fn",
        "random_seed",
        "log_dir",
        "max_repeat_logs",
        "model_name",
        "connection_type",
        "ipu_id",
        "ipu_version",
        "use_model",
        "ipuof_configs",
        "distributed_process_id",
    )
)


def ingredients(digest: str, settings: Optional[OptimizerSettings], options: Any, version: str) -> dict[str, Any]:
    """All that an executable's hash is made of, as JSON values."""
    chosen = {key: _plain(value) for key, value in options.toDict().items() if key not in _NOT_IN_THE_GRAPH}
    return {
        "graph": digest,
        "options": chosen,
        "optimizer": None if settings is None else _constants(settings),
        "device": {"generation": options.chosen("ipu_version") or machine.ipuHardwareVersion()},
        "versions": {"poptorch": version, "torch": torch.__version__},
    }


def key_of(made_of: dict[str, Any]) -> str:
    """The hash: 20 decimal digits at most, as the compiler names its files."""
    text = json.dumps(made_of, sort_keys=True)
    return str(int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big"))


def _constants(settings: OptimizerSettings) -> dict[str, Any]:
    def of(attributes: Any) -> dict[str, Any]:
        return {name: held.value if held.constant else "variable" for name, held in attributes.items()}

    return {
        "variant": {name: _plain(part) for name, part in settings.variant._asdict().items()},
        "types": [str(settings.accumulator), str(settings.first_moment), str(settings.second_moment)],
        "max_grad_norm": repr(settings.max_grad_norm),
        "loss_scaling": settings.loss_scaling.value if settings.loss_scaling.constant else "variable",
        "groups": [of(group) for group in settings.groups],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)


def find_or_add(folder: str, made_of: dict[str, Any]) -> bool:
    """Whether the executable was there already; it is afterwards. A damaged file is written anew."""
    path = os.path.join(folder, key_of(made_of) + ".popef")
    content = json.dumps({"format": _FORMAT, "emulated": True, "made_of": made_of}, sort_keys=True, indent=1)
    if _holds(path, content):
        logger.info("Executable read from the cache (hit): %s", path)
        return True
    logger.info("Executable compiled and added to the cache (miss): %s", path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(content)
    os.replace(temporary, path)
    return False


def _holds(path: str, content: str) -> bool:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read() == content
    except (OSError, ValueError):
        return False


def visit(digest: str, settings: Optional[OptimizerSettings], options: Any, version: str) -> bool:
    """Look an executable up where the options name a cache; whether it was found."""
    folder = options._Popart.options.get("cachePath")
    if not folder or not options._Popart.options.get("enableEngineCaching", False):
        return False
    return find_or_add(str(folder), ingredients(digest, settings, options, version))
