"""What people see: log lines and a progress bar on standard error, tables on standard output, errors in three parts."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from podsquad.errors import PodsquadError
from podsquad.reporting import PROGRESS_LOGGER
from podsquad.reporting import Progress as StageProgress

_STAGE_WIDTH = 9
_WIDEST = 10_000  # columns, where no terminal sets a bound


class TerminalHandler(logging.Handler):
    """Show the domain's log records on a console; on a terminal a stage's progress is a bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._bar = Progress(
            TextColumn(f"{{task.description:<{_STAGE_WIDTH}}}", style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._stage = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line, or move the bar."""
        try:
            progress: StageProgress | None = getattr(record, "progress", None)
            if record.name == PROGRESS_LOGGER:
                if progress and self._console.is_terminal:
                    self._move(progress)
            elif not (progress and progress.done < progress.total and self._console.is_terminal):  # the bar tells it
                self._print(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar.live.is_started:  # else it would print an empty line
            self._bar.stop()
        super().close()

    def _print(self, record: logging.LogRecord) -> None:
        stage = record.name.rpartition(".")[2]
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else None
        message = record.getMessage()
        if not message.startswith(stage + " "):
            message = f"{stage:<{_STAGE_WIDTH}} {message}"
        self._console.print(message, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _move(self, progress: StageProgress) -> None:
        if self._task is None or self._stage != progress.stage:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(progress.stage, total=progress.total, figures="")
            self._stage = progress.stage
            self._bar.start()
        self._bar.update(self._task, completed=progress.done, total=progress.total, figures=progress.short)
        if progress.done >= progress.total:
            self._bar.remove_task(self._task)
            self._task = None


@contextmanager
def told_on_terminal() -> Iterator[None]:
    """Show the domain's log on standard error while the block runs."""
    console = Console(stderr=True)
    handler = TerminalHandler(console)
    loggers = [logging.getLogger("podsquad"), logging.getLogger(PROGRESS_LOGGER)]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    finally:
        handler.close()
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table on standard output; columns named in ``right`` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Not a terminal: a table for a file or a pipe is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else _WIDEST, markup=False, emoji=False, highlight=False).print(table)


def print_json(value: Mapping[str, Any], stream: IO[str] | None = None) -> None:
    """Print one JSON object; half a surrogate pair, as a command line of other bytes than UTF-8 has it, is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in text):
        text = json.dumps(value, indent=2)
    print(text, file=stream or sys.stdout, flush=True)


def print_error(error: PodsquadError) -> None:
    """Print an error's three parts on standard error."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(f"error: {error.what}", style="bold red")
    for label, text in (("why", error.why), ("do", error.do)):
        if text:
            console.print(f"  {label + ':':<4} {text}")


def error_json(error: PodsquadError) -> dict[str, Any]:
    """Return an error as JSON values."""
    parts = {"kind": type(error).__name__, "what": error.what, "why": error.why, "do": error.do}
    return {"error": parts, "exit_code": error.exit_code}
