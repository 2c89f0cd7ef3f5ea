"""What a checkpoint must have in common with a training that goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podsquad.runtimes.torch.device import library_versions
from podsquad.store.durable import canonical_json

# How often checkpoints are written alters no number.
_RUN_ONLY = ("checkpoint_interval_steps",)


def training_fingerprint(settings: Mapping[str, Any], plan: Mapping[str, Any], features: Path, model: Any) -> str:
    """Return the SHA-256 of all that shapes a training: recipe, plan, features, first weights, library versions.

    The base model counts by its weights, not by its name or path. Threads are left out: they alter last bits only.
    """
    hashed = hashlib.sha256()
    recipe = {name: value for name, value in settings["training"].items() if name not in _RUN_ONLY}
    shared = {"training": recipe, "plan": plan, "versions": library_versions(), "config": model.config.to_dict()}
    hashed.update(canonical_json(shared).encode("utf-8"))
    for name in ("layout.json", "train.arrow"):
        hashed.update(hashlib.sha256((features / name).read_bytes()).digest())
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode("utf-8"))
        hashed.update(tensor.detach().contiguous().numpy())
    return hashed.hexdigest()
