"""The machine that is emulated: how many IPUs it has, and which executors hold some of them."""

from __future__ import annotations

import os
import weakref
from typing import Any

from .errors import createPoptorchError

NUM_IPUS_VARIABLE = "PODSQUAD_EMULATED_IPUS"
_DEFAULT_NUM_IPUS = 16  # a POD16
_HARDWARE_VERSION = 2  # a GC200, of the second generation

_attached: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def ipus_there() -> int:
    """The IPUs of the emulated machine: PODSQUAD_EMULATED_IPUS, or 16."""
    return int(os.environ.get(NUM_IPUS_VARIABLE, str(_DEFAULT_NUM_IPUS)))


def ipuHardwareIsAvailable(num_ipus: int = 1) -> bool:
    """Whether the emulated machine has so many IPUs."""
    return num_ipus <= ipus_there()


def ipuHardwareVersion() -> int:
    """The generation of the emulated IPUs."""
    return _HARDWARE_VERSION


def attach(executor: Any, wanted: int) -> None:
    """Give IPUs to an executor. Raises Error when other executors hold too many."""
    held = sum(count for other, count in _attached.items() if other is not executor)
    if held + wanted > ipus_there():
        raise createPoptorchError(
            "Failed to acquire {} IPU(s): the emulated machine has {} and other models hold {}. Detach or destroy "
            "them first, or set {}.".format(wanted, ipus_there(), held, NUM_IPUS_VARIABLE)
        )
    _attached[executor] = wanted


def detach(executor: Any) -> None:
    """Take the IPUs of an executor back."""
    _attached.pop(executor, None)
