"""The emulator: packages ``poptorch`` and ``popart`` that let the genuine optimum-graphcore run on any CPU.

A process that shall use it puts the folder that ``packages_for`` returns at the front of its path, as the IPU program's
``load_sdk`` does; importing this changes nothing. A real poptorch is never shadowed. Standard library only, Python 3.8
and later. What is reproduced, and what is not, stands in the docstring of the package ``poptorch`` beside this file.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from podsquad.errors import SettingsError

PACKAGES = Path(__file__).resolve().parent / "packages"

# Run by the interpreter in question, from a folder and with a path that hold nothing of ours.
_PROBE = """
import importlib.util, sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {own!r})]
print(",".join(name for name in ("poptorch", "popart") if importlib.util.find_spec(name)))
"""


def real_packages(python: str) -> str:
    """Name the real ones of poptorch and popart that an interpreter finds, with a comma between; "" when none.

    Raises SettingsError when the interpreter cannot be started.
    """
    command = [python, "-c", _PROBE.format(own=str(PACKAGES))]
    try:
        asked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(
            "cannot ask the interpreter {} which packages it has: {}".format(python, error),
            why="an emulator must not hide a real poptorch, so the interpreter is asked first",
            do="name a working interpreter of the IPU environment",
        ) from error
    return asked.stdout.decode("utf-8").strip()


def packages_for(python: str) -> Path:
    """Return the folder to put at the front of the path of ``python``.

    Raises SettingsError when that interpreter has a real poptorch or popart, or cannot be started.
    """
    found = real_packages(python)
    if found:
        raise SettingsError(
            "the interpreter {} has a real {}: the emulator does not take its place".format(python, found),
            why="on a machine with Graphcore's SDK the same program runs on IPUs or on Poplar's own model of one",
            do="choose a profile that is not emulated, or an interpreter outside of the SDK's environment",
        )
    return PACKAGES
