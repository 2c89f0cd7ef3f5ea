"""The emulator is put on a path only where there is no real poptorch, and says what it is."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from podsquad.errors import SettingsError
from podsquad.runtimes.emulator import PACKAGES, packages_for, real_packages
from tests.runtimes.emulator.contract.models import Regression, data, options


def python_with(tmp_path: Path, *packages: str) -> str:
    """Make an interpreter that finds these packages."""
    for name in packages:
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").touch()
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "site"}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("real", [("poptorch",), ("popart",), ("poptorch", "popart")], ids=",".join)
def test_a_real_poptorch_is_never_shadowed(tmp_path: Path, real: tuple[str, ...]) -> None:
    python = python_with(tmp_path, *real)
    assert real_packages(python) == ",".join(real)
    with pytest.raises(SettingsError, match="does not take its place"):
        packages_for(python)


def test_without_one_the_packages_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGES))  # as within a child: the emulator is not taken for a real one
    assert packages_for(python_with(tmp_path)) == PACKAGES
    assert {folder.name for folder in PACKAGES.iterdir() if folder.name != "__pycache__"} == {"poptorch", "popart"}


def test_an_interpreter_that_does_not_start_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot ask the interpreter"):
        packages_for(str(tmp_path / "missing"))


def test_importing_needs_torch_and_numpy_alone_and_says_emulated() -> None:
    program = """
import pathlib, sys, torch, numpy, tqdm
before = set(sys.modules)
import popart, poptorch
print(poptorch.__version__)
for name in {name.partition(".")[0] for name in set(sys.modules) - before}:
    folders = pathlib.Path(getattr(sys.modules[name], "__file__", None) or "built-in").parts
    if "packages" in folders or "site-packages" in folders:
        print(name)
"""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    version, *modules = done.stdout.splitlines()
    assert version.endswith("+emulated")
    assert set(modules) - {"tqdm", "torch", "numpy"} == {"popart", "poptorch"}
    assert "[poptorch emulated] [warning]" in done.stderr
    assert done.stderr.count("an emulation on this machine's CPU") == 1


def suite(*paths: str, real: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of this folder where a package of the name poptorch is installed."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--confcutdir"]
    return subprocess.run(
        [*command, *("tests/runtimes/emulator/" + path for path in ("", *paths))],
        cwd=root,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": f"{root}{os.pathsep}{real}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_where_a_real_poptorch_is_the_contract_alone_runs_and_against_that(tmp_path: Path) -> None:
    (tmp_path / "poptorch.py").write_text('__version__ = "3.3.0"\n')
    others = suite("test_fusion.py", "test_packages.py", "test_precision.py", real=tmp_path)
    assert others.returncode == 0, others.stdout + others.stderr
    assert "a real poptorch is installed: this test is about the emulation" in others.stdout
    assert "passed" not in others.stdout
    contract = suite("contract/test_surface.py::test_an_ipu_is_of_a_generation_that_is_known", real=tmp_path)
    assert "module 'poptorch' has no attribute 'ipuHardwareVersion'" in contract.stdout


def test_every_executable_says_emulated(emulator: ModuleType, tmp_path: Path) -> None:
    wanted = options(emulator)
    wanted.enableExecutableCaching(str(tmp_path))
    emulator.inferenceModel(torch.nn.Identity(), wanted)(torch.ones(2))
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["emulated"] is True


def test_a_damaged_executable_is_compiled_again(emulator: ModuleType, tmp_path: Path) -> None:
    wanted = options(emulator)
    wanted.enableExecutableCaching(str(tmp_path))
    emulator.inferenceModel(torch.nn.Identity(), wanted)(torch.ones(2))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    emulator.inferenceModel(torch.nn.Identity(), wanted)(torch.ones(2))
    assert file.read_bytes() == whole


def test_the_machine_has_as_many_ipus_as_set(emulator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    monkeypatch.setenv("PODSQUAD_EMULATED_IPUS", "2")
    x, y = data(8)
    with pytest.raises(emulator.Error, match="the emulated machine has 2"):
        emulator.trainingModel(Regression(emulator.identity_loss), options(emulator, replicas=4))(x, y)
    first = emulator.inferenceModel(Regression(emulator.identity_loss).eval(), options(emulator, replicas=2))
    second = emulator.inferenceModel(Regression(emulator.identity_loss).eval(), options(emulator, replicas=2))
    first(x)
    with pytest.raises(emulator.Error, match="other models hold 2"):
        second(x)
    first.detachFromDevice()
    assert second(x).shape == (8, 2)


def test_processes_that_would_train_apart_are_refused(emulator: ModuleType) -> None:
    wanted = options(emulator)
    wanted.Distributed.configureProcessId(0, 2)
    with pytest.raises(emulator.Error, match="without poprun"):
        emulator.trainingModel(Regression(emulator.identity_loss), wanted)(*data(4))
