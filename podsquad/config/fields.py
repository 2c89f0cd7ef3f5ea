"""Walk over the settings' fields: their dotted names, what they shape, what they hold."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from podsquad.config.settings import Settings

_WORTH_TELLING = 2**31  # a bound beyond it is the machine's, not the setting's


@dataclass(frozen=True)
class SettingsField:
    """One field of the settings; ``name`` is dotted, as ``training.learning_rate``."""

    name: str
    description: str
    shapes: tuple[str, ...]  # the stages whose output it alters
    ipu_shapes: tuple[str, ...]  # further stages, where the runtime is the IPUs'
    is_content: bool  # True: the value may be a path, and what lies there counts, not the path
    when: tuple[str, ...]  # another field and the value at which this one is read; empty: always
    may_be_none: bool
    type_name: str
    bounds: str  # in words, as "more than 0 and at most 1"; empty: none

    def is_read(self, settings: Settings) -> bool:
        """Tell whether the field alters anything, given the others."""
        return not self.when or str(settings_fields()[self.when[0]].value_in(settings)) == self.when[1]

    def shapes_in(self, settings: Settings) -> tuple[str, ...]:
        """Return the stages whose output the field alters, given the others."""
        if not self.is_read(settings):
            return ()
        return self.shapes + (self.ipu_shapes if settings.runtime.name == "ipu" else ())

    def value_in(self, settings: Settings) -> Any:
        """Return the field's value in ``settings``."""
        value: Any = settings
        for part in self.name.split("."):
            value = getattr(value, part)
        return value


@cache
def settings_fields() -> dict[str, SettingsField]:
    """Return every field by its dotted name, in the order of declaration."""
    return {field.name: field for field in _walk(Settings, "")}


def shaping_values(settings: Settings, stage: str) -> dict[str, Any]:
    """Return the JSON values of the fields that shape ``stage``, by dotted name; what is not read is left out."""
    dumped = settings.model_dump(mode="json")
    values = {}
    for name, field in settings_fields().items():
        if stage in field.shapes_in(settings):
            value: Any = dumped
            for part in name.split("."):
                value = value[part]
            values[name] = value
    return values


def _walk(model: type[BaseModel], prefix: str) -> Iterator[SettingsField]:
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _walk(annotation, f"{prefix}{name}.")
            continue
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        shapes, ipu_shapes = (typing.cast(list[str], extra.get(key, [])) for key in ("shapes", "ipu_shapes"))
        yield SettingsField(
            name=prefix + name,
            description=" ".join((info.description or "").split()),
            shapes=tuple(shapes),
            ipu_shapes=tuple(ipu_shapes),
            is_content=bool(extra.get("content", False)),
            when=tuple(typing.cast(list[str], extra.get("when", []))),
            may_be_none=types.NoneType in typing.get_args(annotation),
            type_name=_type_name(annotation),
            bounds=_bounds(info),
        )


def _bounds(info: FieldInfo) -> str:
    words = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
    found = [
        f"{told} {limit:,g}"
        for name, told in words
        for each in info.metadata
        if (limit := getattr(each, name, None)) is not None and limit < _WORTH_TELLING
    ]
    return " and ".join(found)


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type_name(typing.get_args(annotation)[0])}"
    if parts := [part for part in typing.get_args(annotation) if part is not types.NoneType]:
        return " | ".join(map(_type_name, parts))
    return {"Path": "path", "str": "text"}.get(annotation.__name__, str(annotation.__name__))
