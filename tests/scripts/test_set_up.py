"""scripts/set_up.sh: what it says when there is no fitting Python, and which one it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/set_up.sh"


class Machine:
    """A machine with chosen Pythons: shell scripts that answer what set_up.sh asks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "scripts").mkdir()
        (root / "bin").mkdir()
        shutil.copy(SCRIPT, root / "scripts/set_up.sh")
        for tool in ("sh", "dirname", "rm", "mkdir", "cp", "cat"):
            (root / "bin" / tool).symlink_to(str(shutil.which(tool)))

    def python(self, name: str, version: str, fits: bool = True, has_venv: bool = True) -> None:
        path = self.root / "bin" / name
        path.write_text(
            f"""#!/bin/sh
case "$*" in
    --version) echo "Python {version}" ;;
    *"import venv"*) exit {0 if has_venv else 1} ;;
    *"%d.%d"*) echo "{version.rpartition(".")[0]}" ;;
    *version_info*) exit {0 if fits else 1} ;;
    "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    "-m pip"*) echo "$*" > pip ;;
esac
"""
        )
        path.chmod(0o755)

    def set_up(self, **environ: str) -> tuple[int, str]:
        """Return the exit code and what was said."""
        done = subprocess.run(
            [str(self.root / "scripts/set_up.sh"), "torch,test"],
            env={"PATH": str(self.root / "bin"), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_fitting_python_makes_the_environment(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    code, said = machine.set_up()
    assert code == 0
    assert "making .venv with Python 3.12.1" in said
    assert (machine.root / "pip").read_text().split()[-4:] == [
        "--constraint",
        "constraints.txt",
        "--editable",
        ".[torch,test]",
    ]
    code, said = machine.set_up()
    assert code == 0
    assert "making .venv" not in said


def test_an_environment_that_is_half_made_is_made_anew(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    (machine.root / ".venv/bin").mkdir(parents=True)
    (machine.root / ".venv/left").touch()
    assert "making .venv" in machine.set_up()[1]
    assert not (machine.root / ".venv/left").exists()


def test_the_first_that_fits_is_taken(machine: Machine) -> None:
    machine.python("python3", "3.9.2", fits=False)
    machine.python("python3.13", "3.13.0")
    code, said = machine.set_up()
    assert code == 0
    assert "with Python 3.13.0" in said


@pytest.mark.parametrize(("version", "found"), [("3.9.2", "Python 3.9.2"), (None, "")], ids=["old", "none"])
def test_no_fitting_python_is_said_and_how_to_name_one(machine: Machine, version: str | None, found: str) -> None:
    if version:
        machine.python("python3", version, fits=False)
    code, said = machine.set_up()
    assert code == 1
    assert "error: no Python 3.11, 3.12 or 3.13 was found (there is:" in said
    assert found in said
    assert "make PYTHON=/path/to/python3.12" in said
    assert not os.path.exists(machine.root / ".venv")


def test_a_named_python_that_does_not_fit_is_refused(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.python("old", "3.8.10", fits=False)
    code, said = machine.set_up(PYTHON="old")
    assert code == 1
    assert "error: old is Python 3.8.10; podsquad needs Python 3.11, 3.12 or 3.13" in said


def test_a_python_without_venv_is_told_how_to_get_it(machine: Machine) -> None:
    machine.python("python3", "3.11.2", has_venv=False)
    code, said = machine.set_up()
    assert code == 1
    assert "error: python3 has no venv module" in said
    assert "apt install python3.11-venv" in said
