"""What a stage tells while it works: lines for the log, and how far it is.

Lines go to the logger ``podsquad.<stage>``. Every progress goes to the logger ``podsquad.progress``, which passes
nothing on: a terminal draws a bar from it. Now and then a progress becomes a line, for logs that are read later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

PROGRESS_LOGGER = "podsquad.progress"
_LINE_INTERVAL_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """How far a stage is: ``done`` of ``total``, and figures that are known.

    ``figures`` may hold loss, learning_rate, samples_per_second and seconds_left. ``mark`` is a word that must stand by
    them, as "emulated".
    """

    stage: str
    done: int
    total: int
    figures: Mapping[str, float] = field(default_factory=dict)
    mark: str = ""

    @property
    def percent(self) -> float:
        """The share that is done, 0 to 100."""
        return 100.0 * self.done / self.total if self.total else 100.0

    def __str__(self) -> str:
        parts = [marked(self.mark, f"{self.done:,} of {self.total:,}")]
        figures = self.figures
        if "loss" in figures:
            parts.append(f"loss {figures['loss']:.4f}")
        if "learning_rate" in figures:
            parts.append(f"learning rate {figures['learning_rate']:.2e}")
        if "samples_per_second" in figures:
            parts.append(f"{figures['samples_per_second']:,.0f} samples/s")
        if "seconds_left" in figures:
            parts.append(f"{figures['seconds_left']:,.0f} s left")
        return ", ".join(parts)

    @property
    def short(self) -> str:
        """The same in few characters, for a bar."""
        figures = self.figures
        parts = [f"{self.done:,}/{self.total:,}"]
        for name, form in (("loss", "loss {:.3f}"), ("samples_per_second", "{:,.0f}/s"), ("seconds_left", "{:,.0f} s")):
            if name in figures:
                parts.append(form.format(figures[name]))
        return "  ".join([*parts, self.mark] if self.mark else parts)


class Reporter(Protocol):
    """Where a stage tells what it does."""

    def log(self, message: str, level: str = "info") -> None:
        """Tell one line; ``level`` is debug, info, warning or error."""

    def progress(self, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        """Tell how far the stage is."""

    def mark(self, word: str) -> None:
        """Let every line and every progress say ``word`` from now on."""


class LogReporter:
    """Report through ``logging``; ``on_progress`` gets every progress too."""

    def __init__(
        self,
        stage: str,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._word = ""
        self._logger = logging.getLogger(f"podsquad.{stage}")
        self._bar = logging.getLogger(PROGRESS_LOGGER)
        self._bar.propagate = False
        self._on_progress = on_progress
        self._clock = clock
        self._next_line = clock() + _LINE_INTERVAL_SECONDS

    def log(self, message: str, level: str = "info") -> None:
        """Tell one line."""
        self._logger.log(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO), "%s", marked(self._word, message)
        )

    def mark(self, word: str) -> None:
        """Let every line and every progress say ``word`` from now on."""
        self._word = word

    def progress(self, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        """Tell how far the stage is; every ten seconds, and at the end, as a line too."""
        progress = Progress(self._stage, done, total, dict(figures or {}), self._word)
        if self._bar.handlers:
            self._bar.info("%s", progress, extra={"progress": progress})
        if self._on_progress:
            self._on_progress(progress)
        now = self._clock()
        if now >= self._next_line or done >= total:
            self._next_line = now + _LINE_INTERVAL_SECONDS
            self._logger.info("%s", progress, extra={"progress": progress})


EMULATED = "on this machine's CPU: no IPU was used, and no time here is an IPU's"


def marked(word: str, text: str) -> str:
    """Return a text that begins with ``word``; as it is where that is empty."""
    return f"{word}: {text}" if word else text
