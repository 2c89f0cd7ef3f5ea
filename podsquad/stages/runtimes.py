"""What each runtime is made of: the modules and the libraries that shape what its verbs make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import podsquad
from podsquad.config.settings import Settings

Verb = Literal["compile", "train", "predict"]


@dataclass(frozen=True)
class Runtime:
    """A program that compiles, trains and predicts."""

    name: str
    libraries: tuple[str, ...]
    """The distributions of its interpreter whose versions shape its output."""
    install: str
    """What to do where they are missing."""


RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            name="torch",
            libraries=("torch", "transformers", "safetensors", "numpy", "pyarrow"),
            install='install them with: pip install "podsquad[torch]"',
        ),
        Runtime(
            name="ipu",
            libraries=(
                "poptorch", "optimum-graphcore", "optimum", "torch", "transformers", "safetensors", "numpy", "pyarrow",
            ),
            install="make them with: make ipu-env, and set runtime.python=.venv-ipu/bin/python",
        ),
    )
}  # fmt: skip


def runtime_libraries(settings: Settings) -> tuple[str, ...]:
    """Return the distributions of the runtime's interpreter whose versions shape its output."""
    return RUNTIMES[settings.runtime.name].libraries


def runtime_modules(settings: Settings, verb: Verb) -> tuple[str, ...]:
    """Return the modules of the runtime that shape what ``verb`` makes; those that they import count too."""
    modules = (f"podsquad.runtimes.{settings.runtime.name}.{verb}",)
    return modules + _emulator_modules() if settings.runtime.name == "ipu" and settings.runtime.emulated else modules


@cache
def _emulator_modules() -> tuple[str, ...]:
    # Nothing imports them by these names: the runtime puts their folder on its path, where the SDK's would be.
    home = Path(podsquad.__file__).parent
    paths = sorted((home / "runtimes" / "emulator").rglob("*.py"))
    return tuple(
        ".".join((podsquad.__name__, *path.relative_to(home).with_suffix("").parts)).removesuffix(".__init__")
        for path in paths
    )
