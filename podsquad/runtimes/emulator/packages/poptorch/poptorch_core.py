"""What user programs name of poptorch's native core: its errors, and the check of options. Nothing here is native."""

from __future__ import annotations

from .errors import Error, RecoverableError, UnrecoverableError
from .option_names import validate as _validateOptions

__all__ = ["Error", "RecoverableError", "UnrecoverableError", "_validateOptions"]
