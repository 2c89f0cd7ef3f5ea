"""A clock that jumps back an hour when it has been read once, for a process on whose path this lies."""

from __future__ import annotations

import os
import time

_real, _real_ns = time.time, time.time_ns
_back = 0


def _time() -> float:
    return _time_ns() / 10**9


def _time_ns() -> int:
    global _back
    now = _real_ns() - _back
    _back = 3600 * 10**9
    return now


time.time, time.time_ns = _time, _time_ns
time.time()
with open(os.environ["CLOCK_LOG"], "w", encoding="utf-8") as _file:
    _file.write("back\n" if time.time() < _real() - 3000 else "not back\n")
