"""The source of a stage: the modules of podsquad that its output depends on, found by following their imports."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import podsquad

PACKAGE = "podsquad"
# What carries settings, errors and bytes, but decides nothing about an output: the settings that shape a stage are
# in its key by value, and the layout of what durable.py writes is the caller's.
CARRIERS = (
    "podsquad.errors",
    "podsquad.hub_errors",
    "podsquad.hub_log",
    "podsquad.hub_waits",
    "podsquad.config.settings",
    "podsquad.config.section",
    "podsquad.config.data_settings",
    "podsquad.config.training_settings",
    "podsquad.config.ipu_settings",
    "podsquad.config.publish_settings",
    "podsquad.config.fields",
    "podsquad.store.durable",
    "podsquad.runtimes.job",
)
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(podsquad\b[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+(podsquad\b[\w.]*))",
    re.MULTILINE,
)


def code_digests(roots: Iterable[str], carriers: Iterable[str] = CARRIERS) -> dict[str, str]:
    """Return the SHA-256 (16 digits) of each module that ``roots`` import, directly or not, and of the roots.

    Modules outside podsquad count by their library's version, those in ``carriers`` not at all. A root that ends in
    ``.*`` stands for every module of that package.
    """
    skipped = set(carriers)
    digests: dict[str, str] = {}
    waiting = [name for root in roots for name in _expand(root)]
    while waiting:
        module = waiting.pop()
        if module in digests or module in skipped:
            continue
        digests[module], imports = _read(module)
        waiting.extend(imports)
    return dict(sorted(digests.items()))


def function_digest(function: Callable[..., Any]) -> dict[str, str]:
    """Return the SHA-256 (16 digits) of one function's source, by its full name."""
    source = inspect.getsource(function).encode("utf-8")
    return {f"{function.__module__}.{function.__qualname__}": hashlib.sha256(source).hexdigest()[:16]}


def _expand(root: str) -> list[str]:
    if not root.endswith(".*"):
        return [root]
    package = root.removesuffix(".*")
    folder = _home() / Path(*package.split(".")[1:])
    return [f"{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Return a module's digest and the modules of podsquad that it imports anywhere in its text."""
    content = _file_of(module).read_bytes()
    found: list[str] = []
    for package, names, plain in _IMPORT.findall(content.decode("utf-8")):
        if _is_module(plain or package):
            found.append(plain or package)
        # "from podsquad.data import arrow" names a module, "from podsquad.data.arrow import Features" does not.
        parts = [re.split(r"\s+as\s+", name.strip())[0] for name in re.sub(r"#.*|[()]", "", names).split(",")]
        found.extend(f"{package}.{name}" for name in parts if name and _is_module(f"{package}.{name}"))
    return hashlib.sha256(content).hexdigest()[:16], tuple(dict.fromkeys(found))


def _home() -> Path:
    return Path(podsquad.__file__).parent


def _file_of(module: str) -> Path:
    path = _home().joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(module: str) -> bool:
    # A package's __init__ that holds nothing decides nothing.
    path = _file_of(module)
    return path.is_file() and path.stat().st_size > 0
