"""The Dockerfiles' steps in a clean environment and folder: no engine builds an image here, but pip does its part.

What needs a Debian of its own is left out: the user, the owner of a folder, and the packages of apt-get.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.home import CHECKOUT
from tests.deployments.test_operations import SMALL
from tests.docker import dockerfile
from tests.docker.dockerfile import FLOW, TORCH, WORKDIR

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(1800)]
OF_THE_SYSTEM = ("groupadd", "install", "apt-get")
SECONDS = 1500


class Image:
    """A virtual environment and a folder in the place of an image's file system."""

    def __init__(self, root: Path) -> None:
        version = dockerfile.base(FLOW).removeprefix("python:").partition("-")[0]
        subprocess.run([fitting_python(version), "-m", "venv", str(root / "venv")], check=True, timeout=120)
        self.root, self.app = root, root / "app"
        # pip may be told of an index by the machine; nothing else comes from it.
        machine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        self.environ = machine | {"PATH": f"{root / 'venv/bin'}:/usr/bin:/bin", "HOME": str(root)}
        self.left_out: list[str] = []

    def build(self, path: Path) -> None:
        self.app.mkdir(exist_ok=True)
        for each in dockerfile.read(path):
            if each.word == "COPY":
                dockerfile.copy(each, CHECKOUT, self.app)
            elif each.word == "RUN" and each.rest.startswith(OF_THE_SYSTEM):
                self.left_out.append(each.rest.split()[0])
            elif each.word == "RUN":
                self.run(["sh", "-c", each.rest])
        in_here = {name: value.replace(WORKDIR, str(self.app)) for name, value in dockerfile.environment(path).items()}
        self.environ |= in_here

    def run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.app, env=self.environ, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def packages(self) -> dict[str, str]:
        lines = self.run(["pip", "list", "--format", "freeze"]).splitlines()
        return {
            name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)
        }


def fitting_python(version: str) -> str:
    for candidate in (sys.executable, f"/usr/bin/python{version}", shutil.which(f"python{version}")):
        told = subprocess.run([candidate or "false", "--version"], capture_output=True, text=True, check=False)
        if told.stdout.startswith(f"Python {version}."):
            return str(candidate)
    pytest.skip(f"there is no Python {version} here, which the images are of")


@pytest.fixture(scope="module")
def flow() -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="podsquad-image-"))  # too large for the folders that pytest keeps
    made = Image(root)
    made.build(FLOW)
    yield made
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def torch(flow: Image) -> Image:
    flow.run(["python", "-c", "import importlib.util as u; assert not u.find_spec('torch')"])  # not before
    flow.build(TORCH)
    return flow


def assert_pinned(image: Image) -> None:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    found = {name: version.partition("+")[0] for name, version in image.packages().items()}  # torch's +cpu
    # CUDA's libraries have the versions that torch's own wheel asks for.
    ours = {name for name in found if not re.match(r"podsquad$|pip$|nvidia-|cuda-|triton$", name)}
    assert len(ours) > 80
    assert {name: found[name] for name in ours} == {name: pins.get(name) for name in ours}
    assert image.run(["pip", "check"]) == "No broken requirements found.\n"


def test_the_flow_s_image_holds_pinned_packages_and_answers(flow: Image) -> None:
    assert set(flow.left_out) <= set(OF_THE_SYSTEM)
    assert_pinned(flow)
    (command,) = dockerfile.of(FLOW, "CMD")
    assert "--grace-seconds" in flow.run([*command.arguments, "--help"])
    assert "Retrain" in flow.run(["podsquad", "--help"])
    where = flow.run(["python", "-c", "import flows.retrain, deployments.home as h; print(h.CHECKOUT)"])
    assert Path(where.strip()).samefile(flow.app)
    # From another folder too: the installed command and the deployments' paths mean the same files.
    there = ["sh", "-c", "cd / && python -c 'import podsquad; print(podsquad.__file__)'"]
    assert Path(flow.run(there).strip()).is_relative_to(flow.app)


def test_the_torch_image_trains_a_model(torch: Image) -> None:
    assert_pinned(torch)
    torch.environ |= SMALL
    assert "published" in torch.run(["podsquad", "run", "--profile", "demo"])
    assert list((torch.app / ".podsquad/published/demo-reader/versions").iterdir())
