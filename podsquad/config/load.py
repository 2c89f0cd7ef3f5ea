"""Put the settings of a run together: defaults, profile, environment, what the caller sets. The later wins.

The environment's names are ``PODSQUAD_<SECTION>__<FIELD>``, as ``PODSQUAD_TRAINING__LEARNING_RATE``. Every value knows
where it came from, so that ``podsquad config show`` can tell.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pydantic import ValidationError

from podsquad.config.fields import settings_fields
from podsquad.config.settings import PROFILE_NAMES, Settings
from podsquad.errors import SettingsError

ENVIRONMENT_PREFIX = "PODSQUAD_"
PROFILE_VARIABLE = "PODSQUAD_PROFILE"
DEFAULT_PROFILE = "demo"
_NOTHING = ("none", "null")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings and, per dotted field name, where the value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    set_by: str = "--set",
) -> LoadedSettings:
    """Return the settings of a profile, changed by the environment and then by ``overrides``.

    ``overrides`` maps dotted names to values or their text; ``set_by`` tells people where those were given. ``profile``
    None: ``PODSQUAD_PROFILE``, else "demo". Raises SettingsError that names every unknown field and every value that is
    not allowed, and where it was set.
    """
    environ = environ or {}
    profile = profile or environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE
    values: dict[str, Any] = {"profile": profile}
    origins = dict.fromkeys(settings_fields(), "default")
    origins["profile"] = "chosen"
    for origin, layer in (
        (f"profile {profile}", profile_values(profile)),
        ("environment", _from_environment(environ)),
        ("set", dict(overrides or {})),
    ):
        for name, value in layer.items():
            _refuse_unknown(name, origin, set_by)
            values[name] = _without_nothing(name, value)
            origins[name] = origin
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise _explain(error, origins, set_by) from None
    return LoadedSettings(settings, origins)


def parse_overrides(assignments: Iterable[str]) -> dict[str, str]:
    """Turn ``section.field=value`` texts into a mapping. Raises SettingsError for a text of another form."""
    overrides = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise SettingsError(
                f"--set {assignment!r} is not of the form section.field=value",
                why="a setting is known by its section and its field",
                do="write for example --set training.learning_rate=1e-4",
            )
        overrides[name.strip()] = value.strip()
    return overrides


def profile_values(profile: str) -> dict[str, Any]:
    """Return what a profile sets, by dotted name, as its file has it. Raises SettingsError when there is none."""
    if profile not in PROFILE_NAMES:
        raise SettingsError(
            f"there is no profile {profile!r}",
            why="a profile is a set of settings that ships with podsquad",
            do="choose one of: " + ", ".join(PROFILE_NAMES),
        )
    text = resources.files("podsquad.config").joinpath("profiles", f"{profile}.toml").read_text(encoding="utf-8")
    return flat(tomllib.loads(text))


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    # A single underscore is a name of something else, such as PODSQUAD_PROFILE.
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."): value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name
    }


def _refuse_unknown(name: str, origin: str, set_by: str) -> None:
    known = settings_fields()
    if name in known and name != "profile":
        return
    if name == "profile":
        raise SettingsError(
            "the profile cannot be set as a field",
            why="it chooses the values that fields begin with, before any of them is set",
            do="use --profile or " + PROFILE_VARIABLE,
        )
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    raise SettingsError(
        f"there is no setting {name!r} ({_told(origin, name, set_by)})",
        why="a name that is mistyped would change nothing, and nobody would know",
        do=(f"did you mean {' or '.join(near)}? " if near else "") + "podsquad config show lists all of them",
    )


def _without_nothing(name: str, value: Any) -> Any:
    if isinstance(value, str) and value.lower() in _NOTHING and settings_fields()[name].may_be_none:
        return None
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, dot, field = name.partition(".")
        if dot:
            nested.setdefault(section, {})[field] = value
        else:
            nested[section] = value
    return nested


def _explain(error: ValidationError, origins: Mapping[str, str], set_by: str) -> SettingsError:
    problems = []
    for detail in error.errors(include_url=False):
        name = ".".join(map(str, detail["loc"]))
        message = detail["msg"].removeprefix("Value error, ")
        if name in origins:
            problems.append(f"{name} = {detail['input']!r} ({_told(origins[name], name, set_by)}): {message}")
        else:  # a check between fields; its message names them
            problems.append(message)
    return SettingsError(
        "; ".join(problems),
        why="the settings are not allowed" if len(problems) == 1 else f"{len(problems)} settings are not allowed",
        do="podsquad config show, without what is wrong here, tells each setting, its bounds and its origin",
    )


def _told(origin: str, name: str, set_by: str) -> str:
    if origin == "environment":
        return "from " + ENVIRONMENT_PREFIX + name.upper().replace(".", "__")
    return f"from {set_by}" if origin == "set" else f"from the {origin}" if origin.startswith("profile") else origin
