"""A token to look for, and all that an error tells. Imports nothing that a runtime's environment may lack."""

from __future__ import annotations

import traceback

CANARY = "hf_canaryCANARYcanaryCANARYcanaryCAN"


def everything_told_by(error: BaseException) -> str:
    """Return all that a logger can print of an error and of those that caused it."""
    lines, link = [], error
    while link is not None:
        lines.append(f"{link!r} {link!s} {vars(link)!r}")
        shown = None if link.__suppress_context__ else link.__context__
        link = link.__cause__ or shown  # type: ignore[assignment]
    return "\n".join([*lines, *traceback.format_exception(error)])
