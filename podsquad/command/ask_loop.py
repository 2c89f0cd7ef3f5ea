"""The loop of ``podsquad ask --interactive``: questions about one text after another, until Ctrl-D or Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from podsquad.errors import PodsquadError, SettingsError
from podsquad.question import Answer, read_text_file
from podsquad.question_excerpt import shown
from podsquad.terminal import print_error

HELP = """\
  :context        give another text: paste it, end with an empty line
  :file PATH      take the text from a file
  :history        the questions asked so far, with their answers
  :help           this
  :quit           end, as Ctrl-D does
  anything else   a question about the text"""
_MORE = "… "


class AskLoop:
    """Reads lines, answers the questions among them, and goes on after an error.

    Words to the person at a terminal go to standard error, answers through ``tell``. Where standard input is no
    terminal, nobody is prompted: the same lines can be piped in.
    """

    def __init__(
        self,
        answer: Callable[[str, str], Answer],
        tell: Callable[[str, Answer, str], None],
        context: str | None = None,
        stream: IO[str] | None = None,
    ) -> None:
        self._answer = answer
        self._tell = tell
        self._context = context
        self._stream = stream or sys.stdin
        self._history: list[tuple[str, str]] = []

    def run(self) -> None:
        """Loop until the input ends or Ctrl-C is pressed."""
        if self._stream.isatty():
            _edit_lines()
        if hasattr(self._stream, "reconfigure"):
            # Bytes that are not UTF-8 come through as what check_unicode names, and do not end the loop.
            self._stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        try:
            self._say(HELP)
            if self._context is None:
                self._read_context()
            while (line := self._read("question> ").strip()) != ":quit":
                if line:
                    self._do(line)
        except (EOFError, KeyboardInterrupt):
            self._say("")

    def _do(self, line: str) -> None:
        try:
            if not line.startswith(":"):
                self._ask(line)
            elif line == ":context":
                self._read_context()
            elif line == ":help":
                self._say(HELP)
            elif line == ":history":
                for number, (question, answer) in enumerate(self._history, start=1):
                    print(f"{number:>3}  {shown(question)}\n     {shown(answer)}", file=sys.stderr)
            elif line.startswith(":file "):
                self._take(read_text_file(Path(line.removeprefix(":file ").strip()).expanduser()))
            else:
                raise SettingsError(
                    f"there is no {shown(line.split()[0])}",
                    why="a line that begins with a colon is a command of the loop",
                    do=":help lists what there is",
                )
        except PodsquadError as error:
            print_error(error)

    def _ask(self, question: str) -> None:
        if self._context is None:
            raise SettingsError(
                "there is no text to ask about yet",
                why="an answer is a piece of a text",
                do="give one with :context or :file PATH",
            )
        answer = self._answer(question, self._context)
        self._history.append((question, answer.text))
        self._tell(question, answer, self._context)

    def _read_context(self) -> None:
        self._say("paste the text, and end it with an empty line:")
        lines: list[str] = []
        while line := self._read(_MORE if lines else "text> "):
            lines.append(line)
        if lines:
            self._take("\n".join(lines))

    def _take(self, context: str) -> None:
        if not context.strip():
            raise SettingsError(
                "that text is empty; the former one stays",
                why="an answer is a piece of a text, and nothing has no pieces",
                do="give another with :context",
            )
        self._context = context
        self._say(f"a text of {len(context):,} characters")

    def _read(self, prompt: str) -> str:
        if self._stream is sys.stdin and self._stream.isatty():
            return input(prompt)
        line = self._stream.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def _say(self, text: str) -> None:
        if self._stream.isatty():
            print(text, file=sys.stderr)


def _edit_lines() -> None:
    """Give the terminal's lines arrow keys and a history, where Python has the library."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
