"""The settings of the gate and of where a model goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from podsquad.config.section import Section, run_only, setting


class GateSettings(Section):
    """When a challenger may take the champion's place."""

    margin_f1: float = setting(1.0, shapes=("publish",), ge=0.0, le=100.0)
    """Points of F1 by which the challenger may be worse: it is rejected unless a greater loss is excluded. 100 lets
    every one pass."""
    confidence: float = setting(0.95, shapes=("publish",), gt=0.5, lt=1.0)
    """Confidence of each bound: a challenger that is worse by exactly the margin passes with one minus this."""
    resamples: int = setting(10_000, shapes=("publish",), ge=1000, le=1_000_000)
    """Draws of articles from which the bounds come."""
    guarded_slices: tuple[str, ...] = setting(("question_word", "answer_length"), shapes=("publish",))
    """Slices of questions that must not fall, as "question_word:why", or a view for all of its slices; with commas
    between them."""
    slice_margin_f1: float = setting(3.0, shapes=("publish",), ge=0.0, le=100.0)
    """Points of F1 by which a guarded slice may fall: the challenger is rejected where a greater fall is proven."""

    incomparable: Literal["keep", "publish"] = setting("keep", shapes=("publish",))
    """What to do where the evaluation set changed and the champion cannot be scored on the new one: keep the champion,
    for nothing is proven about the challenger, or publish the challenger all the same."""

    @field_validator("guarded_slices", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name for part in value.split(",") if (name := part.strip()))
        return value

    @field_validator("guarded_slices")
    @classmethod
    def _each_names_a_slice(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[a-z]+(_[a-z]+)*(:[a-z0-9+-]+( [a-z0-9+-]+)*)?", name):
                raise ValueError(f"{name!r} names no slice: write view:slice or a view, as question_word:why")
        return tuple(sorted(set(value)))


class PublishSettings(Section):
    """Where the model goes."""

    target: Literal["folder", "hub"] = setting("folder", shapes=("publish",))
    """The kind of place: a folder, or a repository on the Hugging Face Hub."""
    folder: Path = setting(Path(".podsquad/published"), shapes=("publish",), when=("publish.target", "folder"))
    """Folder that receives the versions and the pointer to the current one. A destination, so its path is in the
    key."""
    name: str = setting("roberta-squad", shapes=("publish",), pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    """Name of the model; in a folder its versions lie under <folder>/<name>/."""
    repository: str | None = setting(
        None,
        shapes=("publish",),
        when=("publish.target", "hub"),
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$",
    )
    """Repository on the Hub, as OWNER/NAME; it is made where it is not there."""
    private: bool = run_only(False)
    """Make a repository that is not there yet private, and refuse a public one."""
    token_block: str = run_only("", pattern=r"^[a-z0-9-]*$")
    """Name of the Prefect Secret block that holds the Hub's token; nothing: HF_TOKEN or the login of hf auth login."""
