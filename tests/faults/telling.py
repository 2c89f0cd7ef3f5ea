"""A token to look for, and all that an error tells. Imports nothing that a runtime's environment may lack."""

from __future__ import annotations

import traceback
from pathlib import Path

CANARY = "hf_canaryCANARYcanaryCANARYcanaryCAN"


def files_with_token(*folders: Path) -> list[Path]:
    """Return the files below some folders in which the token stands. There must be files at all."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files, f"nothing is in {folders}"
    return [path for path in files if CANARY.encode() in path.read_bytes()]


def everything_told_by(error: BaseException) -> str:
    """Return all that a logger can print of an error and of those that caused it."""
    lines, link = [], error
    while link is not None:
        lines.append(f"{link!r} {link!s} {vars(link)!r}")
        shown = None if link.__suppress_context__ else link.__context__
        link = link.__cause__ or shown  # type: ignore[assignment]
    return "\n".join([*lines, *traceback.format_exception(error)])
