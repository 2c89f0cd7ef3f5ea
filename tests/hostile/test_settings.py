"""Settings from everywhere that they can come from: all allowed, or refused with the name of what is wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from flows.form import Changes, merged
from podsquad.config.fields import settings_fields
from podsquad.config.load import LoadedSettings, load_settings, parse_overrides
from podsquad.config.settings import PROFILE_NAMES
from podsquad.errors import SettingsError
from podsquad.store.durable import canonical_json
from tests.hostile.budget import hostile
from tests.hostile.inputs import ODD_NUMBERS, ODD_TEXTS, json_values, odd_values

NAMES = sorted(settings_fields())
names = st.sampled_from(NAMES) | st.sampled_from(ODD_TEXTS) | st.text(max_size=30)
texts = (
    st.sampled_from(ODD_TEXTS) | st.sampled_from(ODD_NUMBERS).map(str) | st.text(max_size=30) | st.integers().map(str)
)
profiles = st.none() | st.sampled_from(PROFILE_NAMES) | st.sampled_from(ODD_TEXTS)


def is_allowed(loaded: LoadedSettings) -> None:
    """Settings that were taken can be written down, read again, and are then the same."""
    values = loaded.settings.model_dump(mode="json")
    canonical_json(values).encode("utf-8")
    flat = {
        f"{section}.{name}": value
        for section, part in values.items()
        if section != "profile"
        for name, value in part.items()
    }
    assert load_settings(loaded.settings.profile, flat).settings == loaded.settings
    assert "\0" not in canonical_json(values).replace("\\u0000", "\0")


def is_told(error: SettingsError) -> None:
    assert error.what
    assert error.do
    str(error)


@hostile(
    "settings by --set",
    assignments=st.lists(st.tuples(names, texts).map("=".join) | texts, max_size=4),
    profile=profiles,
)
def test_assignments(assignments: list[str], profile: str | None) -> None:
    try:
        is_allowed(load_settings(profile, parse_overrides(assignments)))
    except SettingsError as error:
        is_told(error)


variables = (
    names.map(lambda name: "PODSQUAD_" + name.upper().replace(".", "__")) | texts.map("PODSQUAD_".__add__) | texts
)


@hostile("settings by the environment", environ=st.dictionaries(variables, texts, max_size=4), profile=profiles)
def test_the_environment(environ: dict[str, str], profile: str | None) -> None:
    try:
        is_allowed(load_settings(profile, {}, environ))
    except SettingsError as error:
        is_told(error)


offered = st.dictionaries(st.sampled_from(sorted(Changes.model_fields)) | texts, json_values, max_size=3)
overridden = st.dictionaries(names, odd_values | json_values, max_size=4) | st.none()


@hostile("settings by the form", changes=offered, overrides=overridden)
def test_the_form(changes: dict[str, Any], overrides: dict[str, Any] | None) -> None:
    try:
        made = Changes.model_validate(changes)
    except ValidationError:  # Prefect shows it beside the field, and starts no run
        made = None
    try:
        is_allowed(load_settings("demo", merged(made, overrides), set_by="the form"))
    except SettingsError as error:
        is_told(error)
