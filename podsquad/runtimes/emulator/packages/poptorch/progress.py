"""The bar that tells how far a compilation is; tqdm where it is installed, else nothing is drawn."""

from __future__ import annotations

import datetime
from typing import Any, Optional

try:
    import tqdm  # type: ignore[import-untyped, unused-ignore]
except ImportError:  # torch and numpy are all that the emulator needs
    tqdm = None


class ProgressBar:
    """Called with (done, total) by a compilation; ``compilation_time`` holds how long it took."""

    def __init__(self) -> None:
        self.compilation_time: Optional[datetime.timedelta] = None
        self._started: Optional[datetime.datetime] = None
        self._bar: Any = None
        self._last = 0

    def __call__(self, progress: int, total: int) -> None:
        if self._started is None:
            self._started = datetime.datetime.now()
            self._last = 0
            if tqdm is not None:
                layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
                self._bar = tqdm.tqdm(desc="Graph compilation (emulated)", total=total, bar_format=layout)
        if self._bar is not None:
            self._bar.update(progress - self._last)
        self._last = progress
        self.compilation_time = datetime.datetime.now() - self._started
        if progress == total:
            if self._bar is not None:
                self._bar.close()
            self._bar = None
            self._started = None
