"""A machine with chosen Pythons: shell scripts that answer what the set-up scripts ask."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Machine:
    """A checkout's folder with the set-up scripts, and a PATH with a few tools and the Pythons that it is given.

    ``pip``, a file in that folder, holds what pip was called with, a line each.
    """

    def __init__(self, root: Path, script: str) -> None:
        self.root = root
        self._script = script
        (root / "scripts").mkdir()
        (root / "bin").mkdir()
        for name in (script, "find_python.sh"):
            shutil.copy(SCRIPTS / name, root / "scripts")
        for tool in ("sh", "dirname", "rm", "mkdir", "cp", "cat"):
            (root / "bin" / tool).symlink_to(str(shutil.which(tool)))

    def python(self, name: str, version: str, fits: bool = True, has_venv: bool = True) -> None:
        """Put a Python on the PATH; whether its version fits is as told here, not worked out."""
        path = self.root / "bin" / name
        path.write_text(
            f"""#!/bin/sh
case "$*" in
    --version) echo "Python {version}" ;;
    *"import venv"*) exit {0 if has_venv else 1} ;;
    *"%d.%d"*) echo "{version.rpartition(".")[0]}" ;;
    *version_info*) exit {0 if fits else 1} ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip"*) echo "$*" >> pip ;;
esac
"""
        )
        path.chmod(0o755)

    def set_up(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Return the script's exit code and what it said."""
        done = subprocess.run(
            [str(self.root / "scripts" / self._script), *arguments],
            env={"PATH": str(self.root / "bin"), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr
