"""Removal that ends at links: what a folder holds goes, what a link leads to stays."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def remove(entry: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder with all that it holds, a link or a file, or nothing where there is nothing.

    Raises OSError as the system does; ``ignore_errors``: what cannot be removed stays.
    """
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=ignore_errors)
    else:
        with contextlib.suppress(*(OSError,) if ignore_errors else ()):
            entry.unlink(missing_ok=True)
