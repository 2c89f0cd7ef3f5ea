"""What every group of settings is made of: frozen models whose fields declare which stages they shape.

A field that shapes a stage is part of that stage's key: changing it makes the stage run again, and those that read
its output. A field that shapes none (``run_only``) changes how a run behaves, never what it makes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

StageName = Literal["download", "tokenize", "compile", "train", "evaluate", "publish"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)


def setting(
    default: Any = ...,
    *,
    shapes: tuple[StageName, ...],
    content: bool = False,
    when: tuple[str, str] | None = None,
    ipu_shapes: tuple[StageName, ...] = (),
    **bounds: Any,
) -> Any:
    """Declare a settings field.

    ``shapes`` names the stages whose output it alters. ``content=True``: the value may be a path, and what counts
    for the key is the content found there, never the path itself. ``when`` names another field and the value at which
    this one is read; at any other it alters nothing. ``ipu_shapes`` names further stages, for the runtime "ipu" alone.
    """
    extra: Any = {"shapes": list(shapes), "content": content, "when": list(when or ()), "ipu_shapes": list(ipu_shapes)}
    return Field(default, json_schema_extra=extra, **bounds)


def run_only(default: Any = ..., **bounds: Any) -> Any:
    """Declare a settings field that alters no stage's output."""
    return setting(default, shapes=(), **bounds)


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        """Let a leading ~ be the user's home, and refuse what no file of UTF-8 can hold."""
        if isinstance(value, tuple | list):
            return type(value)(map(cls._plain_text, value))
        if not isinstance(value, str | Path):
            return value
        if any("\ud800" <= character <= "\udfff" for character in str(value)):
            raise ValueError("it is not valid Unicode")
        if "\0" in str(value):
            raise ValueError("it holds a NUL character")
        return type(value)(os.path.expanduser(value)) if str(value).startswith("~") else value
