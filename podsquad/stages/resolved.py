"""Settings as the work needs them: special words replaced by what they stand for."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from podsquad.config.data_settings import FeatureSettings
from podsquad.config.fields import settings_fields, shaping_values
from podsquad.config.settings import Settings
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.errors import InputMissingError
from podsquad.store.contents import digest_path

DEMO = "demo"  # as features.tokenizer and model.base: the small encoder that ships with podsquad
# A name of the Hub without a revision means these commits: a branch would let the content change under one key.
KNOWN_REVISIONS = {"FacebookAI/roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b"}
_REVISIONS = {"features.tokenizer_revision": "features.tokenizer", "model.revision": "model.base"}
_WORDS = {"features.tokenizer": (DEMO, "train"), "model.base": (DEMO, "scratch")}
_SAME_IN_EVERY_RUNTIME = ("download", "tokenize")


def tokenizer_settings(settings: Settings) -> FeatureSettings:
    """Return the features' settings with a tokenizer that can be loaded: a folder, a Hub name, or "train"."""
    features = settings.features
    name = str(ENCODER_FOLDER) if features.tokenizer == DEMO else features.tokenizer
    revision = features.tokenizer_revision or KNOWN_REVISIONS.get(name)
    return features.model_copy(update={"tokenizer": name, "tokenizer_revision": revision})


def runtime_sections(settings: Settings) -> dict[str, Any]:
    """Return the sections that a runtime reads, as JSON values; base and device are resolved."""
    sections = {"model", "training", "runtime", "evaluation"} | ({"ipu"} if settings.runtime.name == "ipu" else set())
    dumped = settings.model_dump(mode="json", include=sections)
    if settings.model.base == DEMO:
        dumped["model"]["base"] = str(ENCODER_FOLDER)
    dumped["model"]["revision"] = settings.model.revision or KNOWN_REVISIONS.get(settings.model.base)
    dumped["runtime"]["device"] = device_in_use(settings)
    return dumped


def device_in_use(settings: Settings) -> str:
    """Return what the runtime runs on: "cpu", "cuda" or "ipu"; an emulated IPU is a CPU."""
    if settings.runtime.name == "ipu":
        return "cpu" if settings.runtime.emulated else "ipu"
    return resolve_device(settings.runtime.device)


def mark_of(settings: Settings, stage: str) -> str:
    """Return the word that all that is told of a stage says: "emulated" where it was made so, or from what was."""
    is_emulated = settings.runtime.name == "ipu" and settings.runtime.emulated and stage not in _SAME_IN_EVERY_RUNTIME
    return "emulated" if is_emulated else ""


def resolve_device(device: str) -> str:
    """Return "cpu" or "cuda"; "auto" means CUDA where the kernel shows an NVIDIA device. Imports no torch."""
    return device if device != "auto" else "cuda" if _has_nvidia_device() else "cpu"


def key_settings(settings: Settings, stage: str) -> dict[str, Any]:
    """Return the settings that shape ``stage``, as they enter its key.

    A path that a content field names counts by what lies there; "auto" by what it comes to on this machine. Raises
    InputMissingError for a path that is not there.
    """
    values = shaping_values(settings, stage)
    for name, value in values.items():
        if name == "runtime.device":
            values[name] = resolve_device(value)
        elif name in _REVISIONS and value is None:
            values[name] = KNOWN_REVISIONS.get(settings_fields()[_REVISIONS[name]].value_in(settings))
        elif name == "publish.folder":  # a destination: the same place however it is spelled
            values[name] = str(Path(value).absolute())
        elif settings_fields()[name].is_content and value is not None:
            values[name] = _content(name, value)
    return values


def names_a_path(name: str) -> bool:
    """Tell whether a name of a tokenizer or model can only be a path: a Hub name is ``name`` or ``owner/name``."""
    return name.startswith(("/", ".", "~")) or name.endswith("/") or name.count("/") > 1


def unpinned_names(settings: Settings) -> list[str]:
    """Return the fields that name a repository of the Hub without a commit: its content may change under one key."""
    fields = settings_fields()
    return [
        name
        for revision, name in _REVISIONS.items()
        if fields[revision].value_in(settings) is None
        and (value := fields[name].value_in(settings)) not in (*_WORDS[name], *KNOWN_REVISIONS)
        and not os.path.exists(value)
    ]


def _content(name: str, value: str) -> Any:
    words = _WORDS.get(name)
    if words and value == DEMO:
        return {"sha256": digest_path(ENCODER_FOLDER)}
    if words and value in words:
        return value
    path = Path(value)
    if os.path.exists(path):  # unlike Path.exists, it takes what cannot be looked at for absent
        if not words and path.is_dir():
            raise InputMissingError(
                f"{name} names {value}, which is a folder, not a file",
                why="its content is one file's, and a folder has none",
                do=f"set it with --set {name}=FILE",
            )
        return {"sha256": digest_path(path)}
    if words and not names_a_path(value):
        return value  # a repository of the Hub
    raise InputMissingError(
        f"{name} names {value}, which is not there",
        why=f"it is looked for from {Path.cwd()}",
        do=f"check the path, or set another with --set {name}=PATH",
    )


@cache
def _has_nvidia_device() -> bool:
    return Path("/dev/nvidiactl").exists()
