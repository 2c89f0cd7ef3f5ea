"""Logging as poptorch prints it, on standard error; each line says ``[poptorch emulated]``.

Levels are TRACE, DEBUG, INFO, WARN, ERR and OFF, or their old numbers 0, 1, 2, 3, 4, 6. POPTORCH_LOG_LEVEL and
POPART_LOG_LEVEL set them from outside.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Union

TRACE = 5
_LEVELS = {
    "TRACE": TRACE,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERR": logging.ERROR,
    "OFF": logging.CRITICAL + 10,
}
_OLD_NUMBERS = {0: "TRACE", 1: "DEBUG", 2: "INFO", 3: "WARN", 4: "ERR", 6: "OFF"}
_PRINTED = {TRACE: "trace", logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}


class _Console(logging.Handler):
    """Writes to whatever standard error is at that moment, so that a redirected stream sees the line."""

    def emit(self, record: logging.LogRecord) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = _PRINTED.get(record.levelno, "error")
        text = "[{}.{:03d}] [{} emulated] [{}] {}\n".format(
            clock, int(record.msecs), record.name.split("::")[0], level, record.getMessage()
        )
        sys.stderr.write(text)


def _logger(name: str) -> logging.Logger:
    made = logging.getLogger(name)
    if not any(isinstance(handler, _Console) for handler in made.handlers):
        made.addHandler(_Console())
    return made


logger = _logger("poptorch::python")
popart_logger = _logger("popart::emulated")


def _level_number(level: Union[str, int]) -> int:
    if isinstance(level, int):
        if level not in _OLD_NUMBERS:
            raise ValueError("Invalid log level integer")
        return _LEVELS[_OLD_NUMBERS[level]]
    if level not in _LEVELS:
        names = sorted(_LEVELS)
        raise ValueError(
            "Unknown log level: {}. Valid values are {} and {}".format(level, ", ".join(names[:-1]), names[-1])
        )
    return _LEVELS[level]


def setLogLevel(level: Union[str, int]) -> None:
    """Set poptorch's level, by name or by old number. Raises ValueError for another."""
    logger.setLevel(_level_number(level))


def setPopartLogLevel(level: Union[str, int]) -> None:
    """Set the level of the lines that the compiler would print. Raises ValueError for an unknown one."""
    popart_logger.setLevel(_level_number(level))


setLogLevel(os.environ.get("POPTORCH_LOG_LEVEL", "WARN"))
setPopartLogLevel(os.environ.get("POPART_LOG_LEVEL", "WARN"))
