"""scripts/set_up.sh: what it says when there is no fitting Python, and which one it takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scripts.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "set_up.sh")


def test_a_fitting_python_makes_the_environment(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    code, said = machine.set_up("torch,test")
    assert code == 0
    assert "making .venv with Python 3.12.1" in said
    assert (machine.root / "pip").read_text().split()[-4:] == [
        "--constraint",
        "constraints.txt",
        "--editable",
        ".[torch,test]",
    ]
    code, said = machine.set_up("torch,test")
    assert code == 0
    assert "making .venv" not in said


def test_an_environment_that_is_half_made_is_made_anew(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    (machine.root / ".venv/bin").mkdir(parents=True)
    (machine.root / ".venv/left").touch()
    assert "making .venv" in machine.set_up("torch,test")[1]
    assert not (machine.root / ".venv/left").exists()


def test_the_first_that_fits_is_taken(machine: Machine) -> None:
    machine.python("python3", "3.9.2", fits=False)
    machine.python("python3.13", "3.13.0")
    code, said = machine.set_up("torch,test")
    assert code == 0
    assert "with Python 3.13.0" in said


@pytest.mark.parametrize(("version", "found"), [("3.9.2", "Python 3.9.2"), (None, "")], ids=["old", "none"])
def test_no_fitting_python_is_said_and_how_to_name_one(machine: Machine, version: str | None, found: str) -> None:
    if version:
        machine.python("python3", version, fits=False)
    code, said = machine.set_up("torch,test")
    assert code == 1
    assert "error: no Python 3.11, 3.12 or 3.13 was found (there is:" in said
    assert found in said
    assert "make PYTHON=/path/to/python3.12" in said
    assert not os.path.exists(machine.root / ".venv")


def test_a_named_python_that_does_not_fit_is_refused(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.python("old", "3.8.10", fits=False)
    code, said = machine.set_up("torch,test", PYTHON="old")
    assert code == 1
    assert "error: old is Python 3.8.10; podsquad needs Python 3.11, 3.12 or 3.13" in said


def test_a_python_without_venv_is_told_how_to_get_it(machine: Machine) -> None:
    machine.python("python3", "3.11.2", has_venv=False)
    code, said = machine.set_up("torch,test")
    assert code == 1
    assert "error: python3 has no venv module" in said
    assert "apt install python3.11-venv" in said
