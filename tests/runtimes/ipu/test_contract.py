"""The emulator's suites in the IPU environment: its Python, its torch, and its poptorch where it has a real one."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.runtimes.ipu.made_up import IPU_PYTHON, ROOT

pytestmark = pytest.mark.ipu
FOLDER = "tests/runtimes/emulator"  # it needs torch, numpy and pytest alone, on Python 3.8 and later


def test_the_contract_holds_in_the_ipu_environment() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        # The fixtures of the tests above that folder are of the flow's environment.
        [str(IPU_PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--confcutdir", FOLDER, FOLDER],
        cwd=ROOT,
        env={**environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
