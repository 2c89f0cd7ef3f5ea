"""Inner names of poptorch that public packages import by this path."""

from __future__ import annotations

from .context import isRunningOnIpu
from .errors import createPoptorchError
from .wrapping import is_wrapped as isWrapped
from .wrapping import rewrapModelIfNecessary, unwrapModelIfNecessary
from .wrapping import wrapped_again as _restoreWrapperIfNecessary


def isDispatchTracing() -> bool:
    """Whether tensors live on a device of their own while a model is traced: never here."""
    return False


__all__ = [
    "_restoreWrapperIfNecessary",
    "createPoptorchError",
    "isDispatchTracing",
    "isRunningOnIpu",
    "isWrapped",
    "rewrapModelIfNecessary",
    "unwrapModelIfNecessary",
]
