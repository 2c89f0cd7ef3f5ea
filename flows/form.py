"""The few settings that people change, as a box of fields in the form that starts a run.

Bounds and descriptions are those of the settings (podsquad/config/), taken from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, create_model, model_serializer

from podsquad.config.fields import settings_fields
from podsquad.config.load import load_settings
from podsquad.config.settings import PROFILE_NAMES, Settings
from podsquad.errors import SettingsError

OFFERED = ("training.epochs", "training.learning_rate", "training.batch_size", "training.seed")
# Another source than a profile's own: some need files that are named only when a run starts.
_PROFILES = {profile: load_settings(profile, {"data.source": "demo"}).settings for profile in PROFILE_NAMES}


def _plain_fields(schema: dict[str, Any]) -> None:
    """Let a field be a number that may be left out; of "a number or null" the form makes a choice of two."""
    for name, field in schema["properties"].items():
        number = next(kind for kind in field.pop("anyOf") if kind["type"] != "null")
        del field["default"]
        schema["properties"][name] = number | field


def _field(name: str) -> tuple[Any, Any]:
    section, _, field = name.partition(".")
    model = Settings.model_fields[section].annotation
    info, setting = model.model_fields[field], settings_fields()[name]
    values = {profile: f"{setting.value_in(settings):g}" for profile, settings in _PROFILES.items()}
    told = ", ".join(f"{profile} {value}" for profile, value in values.items())
    if len(set(values.values())) == 1:
        told = f"{values[PROFILE_NAMES[0]]} in each"
    bounds = f"{setting.bounds.capitalize()}. " if setting.bounds else ""
    description = f"{setting.description} {bounds}Empty: as the profile says ({told})."
    return Annotated[info.annotation, *info.metadata] | None, Field(None, description=description)


class _Offer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_plain_fields)

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


Changes: Any = create_model(
    "Changes",
    __base__=_Offer,
    __doc__="Settings that people change most; an empty field is as the profile says.",
    **{name.partition(".")[2]: _field(name) for name in OFFERED},
)


def merged(changes: Any, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return all settings that differ from the profile, by dotted name. Raises SettingsError for one set twice."""
    given = changes.model_dump() if changes else {}
    changed = {name: given[field] for name in OFFERED if (field := name.partition(".")[2]) in given}
    if twice := sorted(changed.keys() & (overrides or {}).keys()):
        raise SettingsError(
            f"{' and '.join(twice)} is set twice: by a field of its own and among the overrides",
            why="a field and the overrides may name the same setting, and neither goes before the other",
            do="leave one of the two empty",
        )
    return {**changed, **(overrides or {})}
