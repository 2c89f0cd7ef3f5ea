"""The kill switch: put on a process's path, it kills it at a chosen place where podsquad makes something durable.

CRASH_LOG     a file that gets a line ``<stage> <point> <phase>`` for every such call, in order
CRASH_AT      such lines, with commas between them: kill this process, and with it the process group of the command,
              when it comes to one
CRASH_HOLD    such a line: stand there as long as the file CRASH_GATE is there, which gets the word "reached", and
              "stopped" when SIGTERM comes meanwhile

A point is where podsquad makes something durable: the module and function that asked for it, the durable function it
called (``callee#2``: the second such call of that function), and the system call at the bottom: a rename, link or
symlink, or the flush of what is written under its own name. A phase is "before" or "after" that call. The stage is
the one whose folder of the store is written to, "-" outside the store. Python imports this file by its name before
anything else runs, in the command and in every process that it starts.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durable_calls import name_of_call

_WATCHED = ("rename", "replace", "link", "symlink", "fsync")
_WRITTEN_IN_PLACE = ("append_line", "copy_bytes")  # the durable functions that rename nothing
_DURABLE = f"{os.sep}podsquad{os.sep}store{os.sep}durable.py"
_PACKAGE = f"{os.sep}podsquad{os.sep}"
_HOME = Path(__file__).resolve().parents[3] / "podsquad"  # not what a runtime's path leads to, which another may remove
_STAGE = re.compile(r"/(download|tokenize|compile|train|evaluate|publish)/")
_GROUP = os.environ.setdefault("CRASH_GROUP", str(os.getpgrp()))  # the command's: what it starts finds it set


def _point(call: str) -> str:
    """Return the name of the place in podsquad that led to this call; empty when none did."""
    frame = sys._getframe(2)
    through = call
    if call == "fsync" and not (
        frame.f_code.co_filename.endswith(_DURABLE) and frame.f_code.co_name in _WRITTEN_IN_PLACE
    ):
        return ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.endswith(_DURABLE):
            if not frame.f_code.co_name.startswith("_"):
                through = frame.f_code.co_name
        elif _PACKAGE in name and "/site-packages/" not in name:  # the checkout may itself be named podsquad
            path, function = name.rpartition(_PACKAGE)[2], frame.f_code.co_name
            callee = name_of_call(_HOME / path, _HOME, function, through, frame.f_lineno)
            return f"podsquad.{path[: -len('.py')].replace(os.sep, '.')}:{function}:{callee}:{call}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _watch(call: str) -> None:
    real: Callable[..., Any] = getattr(os, call)

    def watched(*arguments: Any, **options: Any) -> Any:
        point = _point(call)
        stage = _STAGE.search(str(arguments[1])) if len(arguments) > 1 else None
        place = f"{stage.group(1) if stage else '-'} {point}"
        if point:
            _come_to(f"{place} before")
        result = real(*arguments, **options)
        if point:
            _come_to(f"{place} after")
        return result

    setattr(os, call, watched)


def _come_to(place: str) -> None:
    if log := os.environ.get("CRASH_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(place + "\n")
    _hold(place)
    if place in os.environ.get("CRASH_AT", "").split(","):
        os.killpg(int(_GROUP), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _hold(place: str) -> None:
    gate = os.environ.get("CRASH_GATE", "")
    if place != os.environ.get("CRASH_HOLD") or not os.path.exists(gate):
        return
    before: Any = signal.getsignal(signal.SIGTERM)

    def note(*arguments: Any) -> None:
        _tell(gate, "stopped")
        before(*arguments)

    signal.signal(signal.SIGTERM, note)
    _tell(gate, "reached")
    while os.path.exists(gate):
        time.sleep(0.02)
    signal.signal(signal.SIGTERM, before)


def _tell(gate: str, word: str) -> None:
    if os.path.exists(gate):
        with open(gate, "w", encoding="utf-8") as file:
            file.write(word)


for _call in _WATCHED:
    _watch(_call)
