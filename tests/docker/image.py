"""A folder and a virtual environment in the place of an image's file system: no engine builds an image here, but pip
does its part.

What needs a Debian of its own is left out: the user, the owner of a folder, and the packages of apt-get.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deployments.home import CHECKOUT
from tests.docker import dockerfile
from tests.docker.dockerfile import WORKDIR

OF_THE_SYSTEM = ("groupadd", "install", "apt-get")
SECONDS = 1500


class Image:
    """What a Dockerfile's steps make in ``root``, with the base's Python taken from ``python``.

    ``moved`` maps folders of the image to folders here, in its steps and its environment.
    """

    def __init__(self, root: Path, python: str, moved: Mapping[str, Path] | None = None) -> None:
        subprocess.run([python, "-m", "venv", str(root / "venv")], check=True, timeout=120)
        self.root, self.app = root, root / "app"
        self._moved = {WORKDIR: self.app, **(moved or {})}
        # pip and uv may be told of an index and its certificate by the machine; nothing else comes from it.
        machine = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_CERT"))}
        self.environ = machine | {"PATH": f"{root / 'venv/bin'}:/usr/bin:/bin", "HOME": str(root)}
        self.left_out: list[str] = []

    def build(self, path: Path) -> None:
        self.app.mkdir(exist_ok=True)
        for each in dockerfile.read(path):
            if each.word == "COPY":
                dockerfile.copy(each, CHECKOUT, self.app)
            elif each.word == "ENV":
                self.environ |= {name: self._here(value) for name, value in dockerfile.settings(each).items()}
            elif each.word == "RUN" and each.rest.startswith(OF_THE_SYSTEM):
                self.left_out.append(each.rest.split()[0])
            elif each.word == "RUN":
                self.run(["sh", "-c", self._here(each.rest)])

    def run(self, command: list[str], **environ: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.app,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def packages(self) -> dict[str, str]:
        lines = self.run(["pip", "list", "--format", "freeze"]).splitlines()
        return {
            name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)
        }

    def _here(self, text: str) -> str:
        for there, here in self._moved.items():
            text = text.replace(there, str(here))
        return text.replace("${PATH}", self.environ["PATH"])


def fitting_python(version: str) -> str:
    """Return an interpreter of that version, as "3.11"; the test is skipped where there is none."""
    usual = (sys.executable, f"/usr/bin/python{version}", f"python{version}")
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for candidate in (found for name in (*usual, *of_pyenv) if (found := shutil.which(name))):
        told = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if told.stdout.startswith(f"Python {version}."):
            return candidate
    pytest.skip(f"there is no Python {version} here, which the image has")
