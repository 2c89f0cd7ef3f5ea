"""Read the project's Dockerfiles, and the part of the checkout that a build sees."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docker.utils import exclude_paths

from deployments.home import CHECKOUT

FOLDER = CHECKOUT / "docker"
FLOW, TORCH = FOLDER / "flow.Dockerfile", FOLDER / "torch.Dockerfile"
WORKDIR = "/app"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, and the rest with its continued lines joined."""

    word: str
    rest: str

    @property
    def arguments(self) -> list[str]:
        """The exec form's list, else what spaces part. Flags are arguments too."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else self.rest.split()


def parse(text: str) -> list[Instruction]:
    """Return the instructions. Here-documents, other escape characters and ONBUILD are not known: ValueError."""
    lines: list[str] = []
    begun = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):  # also between continued lines
            if re.match(r"#\s*(escape|syntax)\s*=", line):
                raise ValueError(f"a directive: {line}")
            continue
        if line.endswith("\\"):
            begun += line[:-1].strip() + " "
        elif joined := (begun + line.strip()).strip():
            lines.append(joined)
            begun = ""
    if begun:
        raise ValueError(f"never ends: {begun}")
    found = [Instruction(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]
    for each in found:
        if each.word not in ("ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD") or "<<" in each.rest:
            raise ValueError(f"not known here: {each}")
    return found


@cache
def read(path: Path) -> tuple[Instruction, ...]:
    """Return a file's instructions."""
    return tuple(parse(path.read_text(encoding="utf-8")))


def of(path: Path, word: str) -> list[Instruction]:
    """Return a file's instructions of one kind."""
    return [each for each in read(path) if each.word == word]


def settings(instruction: Instruction) -> dict[str, str]:
    """Return what one ENV sets; only ``name=value`` without quotes or spaces is known, ValueError for others."""
    pairs = [pair.partition("=") for pair in instruction.arguments]
    if not all(equals and re.fullmatch(r"[^\"' ]+", value) for _, equals, value in pairs):
        raise ValueError(f"an ENV of another form: {pairs}")
    return {name: value for name, _, value in pairs}


def environment(path: Path) -> dict[str, str]:
    """Return what the ENV instructions set together."""
    return {name: value for each in of(path, "ENV") for name, value in settings(each).items()}


def base(path: Path, arguments: Mapping[str, str] | None = None) -> str:
    """Return the image that a file begins from, with its ARGs' defaults or ``arguments`` put in."""
    given = {name: value for name, _, value in (each.rest.partition("=") for each in of(path, "ARG"))}
    (start,) = of(path, "FROM")
    return re.sub(r"\$\{(\w+)\}", lambda found: {**given, **(arguments or {})}[found[1]], start.rest)


def visible(root: Path) -> set[str]:
    """Return what a build in ``root`` sees of it, by the rules of .dockerignore as docker-py applies them."""
    lines = [line.strip() for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    outside = "docker/Dockerfile"  # it lets the Dockerfile through, which the engine reads by itself
    return {str(path) for path in exclude_paths(str(root), patterns, outside)} - {outside}


def copy(instruction: Instruction, root: Path, workdir: Path) -> None:
    """Do what COPY does: files into the folder, a folder's content to the target. Raises FileNotFoundError."""
    *sources, target = instruction.arguments
    seen = visible(root)
    for source in sources:
        if source not in seen:
            raise FileNotFoundError(f"{source} is not in the build's context")
        if (root / source).is_file():
            shutil.copy(root / source, workdir / target)
            continue
        for name in sorted(each for each in seen if each.startswith(source + "/") and (root / each).is_file()):
            (to := workdir / target / name.removeprefix(source + "/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to)


def copy_all(path: Path, root: Path, workdir: Path) -> None:
    """Do all COPY instructions of a file."""
    workdir.mkdir(parents=True, exist_ok=True)
    for each in of(path, "COPY"):
        copy(each, root, workdir)
