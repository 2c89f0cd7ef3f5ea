"""Batch arithmetic and what a run needs of memory and disk, as far as it can be told beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from podsquad.config.settings import Settings
from podsquad.data.arrow import read_layout


@dataclass(frozen=True)
class Estimate:
    """One figure and how it comes about."""

    name: str
    value: str
    how: str


def estimate(settings: Settings, features: Path | None) -> tuple[Estimate, ...]:
    """Return the figures of a run; ``features`` is the artifact they are counted in, if it is made already."""
    if features is None:
        return (Estimate("steps", "not known yet", "the features are still to be made"),)
    training = settings.training
    split = read_layout(features)["splits"]["train"]
    count = split["num_features"]
    per_epoch = count // training.batch_size if training.drop_last else -(-count // training.batch_size)
    steps = per_epoch * training.epochs
    return (
        Estimate(
            "steps",
            f"{steps:,}",
            f"{count:,} features / {training.batch_size} per step = {per_epoch:,} per epoch, x {training.epochs} epochs",
        ),
    )
