"""The Dockerfiles' steps in a clean environment and folder (image.py)."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.home import CHECKOUT
from tests.deployments.test_operations import SMALL
from tests.docker import dockerfile
from tests.docker.dockerfile import FLOW, TORCH
from tests.docker.image import OF_THE_SYSTEM, Image, fitting_python

pytestmark = [pytest.mark.prefect_live, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def flow() -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="podsquad-image-"))  # too large for the folders that pytest keeps
    made = Image(root, fitting_python(dockerfile.base(FLOW).removeprefix("python:").partition("-")[0]))
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
