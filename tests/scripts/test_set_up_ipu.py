"""scripts/set_up_ipu.sh: which Python it takes, what it installs, and what it says when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.machine import Machine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "set_up_ipu.sh")


def test_the_pins_are_installed_and_checked(machine: Machine) -> None:
    machine.python("python3", "3.11.9")
    code, said = machine.set_up()
    assert code == 0
    assert "making .venv-ipu with Python 3.11.9" in said
    install, check = (machine.root / "pip").read_text().splitlines()
    assert "--requirement constraints-ipu.txt" in install
    assert "pip check" in check
    code, said = machine.set_up()
    assert code == 0
    assert "making .venv-ipu" not in said


def test_the_newest_that_fits_is_taken_before_the_system_s(machine: Machine) -> None:
    machine.python("python3", "3.9.2")
    machine.python("python3.11", "3.11.9")
    assert "with Python 3.11.9" in machine.set_up()[1]


def test_no_fitting_python_is_said_with_the_reason(machine: Machine) -> None:
    machine.python("python3", "3.13.0", fits=False)
    code, said = machine.set_up()
    assert code == 1
    assert "no Python 3.8 to 3.11 was found (there is: Python 3.13.0)" in said
    assert "wheels end at 3.11" in said
    assert "make ipu-env IPU_PYTHON=" in said
    assert not (machine.root / ".venv-ipu").exists()


def test_a_named_python_that_does_not_fit_is_refused(machine: Machine) -> None:
    machine.python("new", "3.13.0", fits=False)
    code, said = machine.set_up(IPU_PYTHON="new")
    assert code == 1
    assert "error: new is Python 3.13.0" in said


def test_a_python_without_venv_is_told_how_to_get_it(machine: Machine) -> None:
    machine.python("python3.11", "3.11.2", has_venv=False)
    code, said = machine.set_up()
    assert code == 1
    assert "apt install python3.11-venv" in said


def test_every_pin_is_exact_but_for_setuptools() -> None:
    lines = [line for line in (ROOT / "constraints-ipu.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "==" not in line.partition(";")[0]] == ["setuptools<81"]
    assert {"optimum-graphcore==0.7.1", "transformers==4.29.2", "tokenizers==0.13.3"} <= set(lines)
