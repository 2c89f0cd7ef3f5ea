"""A clock that jumps back an hour when a checkpoint has appeared, for a process on whose path this lies."""

from __future__ import annotations

import os
import time
from typing import Any

_real, _real_ns, _rename = time.time, time.time_ns, os.rename
_HOUR_SECONDS = 3600
_back_seconds = 0


def _jump() -> None:
    global _back_seconds
    before, _back_seconds = time.time(), _HOUR_SECONDS
    if time.time() < before - _HOUR_SECONDS / 2:
        with open(os.environ["CLOCK_LOG"], "w", encoding="utf-8") as file:
            file.write("back\n")


def _renaming(source: Any, target: Any, **options: Any) -> None:
    _rename(source, target, **options)
    if "/step-" in os.fspath(target) and not _back_seconds:
        _jump()


time.time = lambda: _real() - _back_seconds
time.time_ns = lambda: _real_ns() - _back_seconds * 10**9
os.rename = _renaming  # type: ignore[assignment]
