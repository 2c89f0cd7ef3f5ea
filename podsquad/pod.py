"""The settings' POD: its plan, its checks and its figures, as the pre-flight, the plan and the stages need them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from podsquad.config.settings import Settings
from podsquad.data.arrow import read_layout
from podsquad.runtimes.base_model import SCRATCH, sizes_from_scratch
from podsquad.runtimes.ipu.checks import PodCheck, check_plan
from podsquad.runtimes.ipu.old_config import resolve_ipu
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan
from podsquad.runtimes.ipu.poprun import poprun_command
from podsquad.stages.resolved import runtime_sections

# Of encoders of the Hub that are known here without asking it; from the config.json of that commit.
_KNOWN_SIZES = {
    "FacebookAI/roberta-base": ModelSizes(
        num_layers=12,
        hidden_size=768,
        intermediate_size=3072,
        num_heads=12,
        vocab_size=50265,
        num_positions=514,
        num_token_types=1,
    )
}


class Layout(NamedTuple):
    """A training laid over a POD."""

    plan: PodPlan
    sections: dict[str, Any]
    """The runtime's, with what ``ipu.config_file`` says."""
    notes: list[str]
    """On what of that file was brought up to date."""


def lay_out(settings: Settings) -> Layout:
    """Lay a training over the POD. Raises InputMissingError, SettingsError for a config file that cannot be used."""
    sections = runtime_sections(settings)
    sections["ipu"], notes = resolve_ipu(sections["ipu"])
    return Layout(PodPlan.of(sections["ipu"], settings.training.batch_size), sections, notes)


def pod_checks(settings: Settings, features: Path | None = None) -> list[PodCheck]:
    """Return the checks of the plan that can be made with what is known; ``features`` is the artifact, if it is there.

    Raises as ``lay_out`` does, and DataError for features that cannot be read.
    """
    plan, sections, notes = lay_out(settings)
    layout = read_layout(features) if features else None
    checks = check_plan(
        plan,
        sections,
        max_length=settings.features.max_length,
        sizes=model_sizes(settings, layout),
        num_features=_num_features(settings, layout),
    )
    return checks + [PodCheck("ipu.config_file", True, note) for note in notes]


def model_sizes(settings: Settings, layout: Mapping[str, Any] | None = None) -> ModelSizes | None:
    """Return the sizes of the model that the settings name, as far as they are known without the Hub; None if not."""
    model = settings.model
    if model.base == SCRATCH:
        # Before there are features, as a tokenizer that is trained for them would have it.
        expected = {
            "vocab_size": settings.features.vocab_size,
            "max_length": settings.features.max_length,
            "pad_token_id": None,
            "uses_token_types": False,
        }
        return ModelSizes.of(sizes_from_scratch(model.model_dump(), layout or expected))
    base = runtime_sections(settings)["model"]["base"]
    try:
        return ModelSizes.of(json.loads((Path(base) / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return _KNOWN_SIZES.get(base)


def launcher_command(settings: Settings, verb: str) -> list[str]:
    """Return the command that starts the runtime's program on several hosts; empty where it is started as it is.

    An emulation is one process, and a prediction is made by one host.
    """
    if settings.runtime.name != "ipu" or settings.runtime.emulated or verb == "predict":
        return []
    plan, sections, _ = lay_out(settings)
    return poprun_command(plan, sections["ipu"], offline=verb == "compile")


def _num_features(settings: Settings, layout: Mapping[str, Any] | None) -> int | None:
    """Return the training features, or what there are at least: every question makes one or more."""
    if layout is not None:
        return int(layout["splits"]["train"]["num_features"])
    if settings.data.source == "demo":
        return settings.data.demo_train_questions
    return settings.data.expected_train_questions
