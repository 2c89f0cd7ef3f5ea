"""The errors of poptorch: ``Error`` and its two kinds that tell what may be tried next.

Where poptorch's published tests ask for words in a message, the emulator says those words. All others are its own.
"""

from __future__ import annotations


class Error(Exception):
    """An error of poptorch or its compiler: ``type`` names its origin, ``message`` is the text without it."""

    type = "poptorch_error"
    message = ""
    location = ""


class RecoverableError(Error):
    """The device must be reset before another attempt. The emulator never raises it."""

    recovery_action = ""


class UnrecoverableError(Error):
    """The device must be serviced. The emulator never raises it."""


def createPoptorchError(msg: str) -> Error:
    """Make the error that poptorch's Python half raises: its text carries the type and the message."""
    error = Error("'poptorch_py_error': {}".format(msg))
    error.type = "poptorch_py_error"
    error.message = msg
    return error


def compiler_error(msg: str) -> Error:
    """Make the error that poptorch's compiler raises for a graph or an option that it refuses."""
    error = Error(msg)
    error.type = "poptorch_cpp_error"
    error.message = msg
    return error
