"""Read the compose files as Compose does: interpolated, and merged where there are several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.docker.dockerfile import FOLDER

MAIN, CUDA = FOLDER / "compose.yaml", FOLDER / "compose.cuda.yaml"
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
_UNITS = {"s": 1, "m": 60, "h": 3600}


class MissingVariableError(Exception):
    """A variable that the file asks for is not set; Compose stops with the file's own words."""


def interpolate(value: Any, environ: Mapping[str, str]) -> Any:
    """Put variables into every text below ``value``: ${X}, ${X:-default}, ${X:?words}, $$ for a dollar sign."""
    if isinstance(value, dict):
        return {name: interpolate(each, environ) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, environ) for each in value]
    return _VARIABLE.sub(lambda found: _filled(found, environ), value) if isinstance(value, str) else value


def _filled(found: re.Match[str], environ: Mapping[str, str]) -> str:
    dollar, name, kind, rest = found.groups()
    if dollar:
        return "$"
    if given := environ.get(name):
        return given
    if kind == "?":
        raise MissingVariableError(rest)
    return str(rest or "")


def variables(path: Path) -> dict[str, str | None]:
    """Return the variables that a file interpolates, each with the mark of its kind: "-", "?" or None."""
    return {name: kind for dollar, name, kind, _ in _VARIABLE.findall(path.read_text(encoding="utf-8")) if not dollar}


def seconds(text: str) -> int:
    """Return a duration such as 1m30s."""
    assert re.fullmatch(r"(\d+[smh])+", text), text
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


def env_file(text: str) -> dict[str, str]:
    """Return the variables of a .env file of plain lines, ``NAME=value`` or ``NAME='value'``."""
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value[1:-1] if value.startswith("'") else value for name, _, value in pairs}


class Project:
    """The services, volumes and networks of compose.yaml with the variables of one environment."""

    def __init__(self, environ: Mapping[str, str], file: Path = MAIN) -> None:
        self.environ = environ
        self.content: dict[str, Any] = interpolate(yaml.safe_load(file.read_text(encoding="utf-8")), environ)

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """The services by name."""
        return dict(self.content["services"])

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's environment; a name without a value is passed on if it is set, as Compose does."""
        given: dict[str, str | None] = self.services[service].get("environment", {})
        filled = {name: self.environ.get(name) if value is None else str(value) for name, value in given.items()}
        return {name: value for name, value in filled.items() if value is not None}

    def needs(self, service: str) -> dict[str, str]:
        """Return what must have happened to which other services before this one starts."""
        return {name: each["condition"] for name, each in self.services[service].get("depends_on", {}).items()}

    def health_command(self, service: str) -> list[str]:
        """Return the command of a service's health check."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD", f"{service}: only CMD is known here"
        return [str(each) for each in command]
