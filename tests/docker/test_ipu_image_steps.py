"""docker/ipu.Dockerfile's steps with a Python 3.8 in the base's place and the emulation in the SDK's, and a night.

What else the base image brings, the SDK and its drivers, is not here, nor what needs a Debian of its own (image.py). uv
takes this machine's Python 3.11 in the place of one that it would fetch.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.home import CHECKOUT
from podsquad.runtimes.emulator import PACKAGES
from tests.docker.image import Image, fitting_python
from tests.docker.test_ipu_image import IPU

pytestmark = [pytest.mark.ipu, pytest.mark.timeout(3600)]
SMALL = {
    "PODSQUAD_PROFILE": "pod16-emulated",
    "PODSQUAD_DATA__DEMO_TRAIN_QUESTIONS": "300",
    "PODSQUAD_DATA__DEMO_VALIDATION_QUESTIONS": "20",
    "PODSQUAD_TRAINING__EPOCHS": "1",
}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    base, flow = fitting_python("3.8"), fitting_python("3.11")
    root = Path(tempfile.mkdtemp(prefix="podsquad-image-"))  # too large for the folders that pytest keeps
    try:
        made = Image(root, base, {"/opt": root / "opt", "/usr/bin/python3": root / "venv/bin/python3"})
        (root / "machine").mkdir()
        (root / "machine/python3.11").symlink_to(os.path.realpath(flow))
        made.environ["PATH"] += f":{root / 'machine'}"
        made.environ |= {"UV_PYTHON_DOWNLOADS": "never", "PYTHONPATH": str(PACKAGES)}
        made.build(IPU)
        del made.environ["PYTHONPATH"]
        yield made
    finally:
        shutil.rmtree(root)


def test_both_interpreters_hold_what_they_need(image: Image) -> None:
    program, flow = (str(image.root / name) for name in ("venv/bin/python3", "opt/flow/bin/python"))
    versions = "import sys, importlib.metadata as m; print(sys.version_info[:2], m.version(sys.argv[1]))"
    assert image.run([program, "-c", versions, "torch"]).startswith("(3, 8) 2.0.1")
    assert image.run([flow, "-c", versions, "prefect"]).startswith("(3, 11) 3.")
    assert image.run([program, "-m", "pip", "check"]) == "No broken requirements found.\n"
    assert image.run(["python", "-c", "import sys; print(sys.executable)"]).strip() == flow  # the worker's, by PATH


def test_the_emulation_keeps_its_contract_on_the_base_s_python(image: Image) -> None:
    program = str(image.root / "venv/bin/python3")
    image.run([program, "-m", "pip", "install", "--quiet", "pytest", "pytest-timeout"])
    folder = str(CHECKOUT / "tests/runtimes/emulator")
    image.run([program, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--confcutdir", folder, folder])


def test_a_night_of_the_image_s_own_settings_but_emulated(image: Image) -> None:
    told = image.run(["podsquad", "run", "--json"], **SMALL)
    report = json.loads(told)
    assert [stage["state"] for stage in report["stages"]] == ["ran"] * 6
    paths = {stage["stage"]: image.app / stage["path"] for stage in report["stages"]}
    made = json.loads((paths["train"] / "training.json").read_text())
    assert (made["emulated"], made["versions"]["torch"].partition("+")[0]) == (True, "2.0.1")
    assert made["steps"] >= 1
