"""Where an answer stands in its context: the words around it, with the answer marked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

AROUND_CHARACTERS = 90
OPENS, CLOSES, CUT = ">>", "<<", "…"
# What would move a terminal's cursor, ring, or colour: C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Excerpt:
    """A piece of a context in three parts: before the answer, the answer, after it. Joined, they stand there."""

    before: str
    text: str
    after: str
    char_start: int  # where the piece begins in the context

    def to_json(self) -> dict[str, Any]:
        """Return the parts as JSON values."""
        return asdict(self)


def cut_excerpt(context: str, char_start: int, char_end: int, around: int = AROUND_CHARACTERS) -> Excerpt:
    """Return the answer from ``char_start`` to ``char_end`` with some ``around`` characters on each side.

    Words stay whole where there is a blank to cut at.
    """
    first, last = max(0, char_start - around), min(len(context), char_end + around)
    if first > 0 and (blank := re.search(r"\s", context[first:char_start])):
        first += blank.end()
    if last < len(context) and (tail := re.search(r"\s\S*$", context[char_end:last])):
        last = char_end + tail.start()
    return Excerpt(context[first:char_start], context[char_start:char_end], context[char_end:last], first)


def marked_line(excerpt: Excerpt, context_length: int) -> str:
    """Return an excerpt in one line for people, with >>the answer<< marked and dots where the context goes on."""
    parts = [excerpt.before, OPENS, excerpt.text, CLOSES, excerpt.after]
    if excerpt.char_start > 0:
        parts.insert(0, CUT)
    if excerpt.char_start + len(excerpt.before) + len(excerpt.text) + len(excerpt.after) < context_length:
        parts.append(CUT)
    return shown("".join(parts))


def shown(text: str) -> str:
    """Return any text in one line that is safe on a terminal: white space joined, control characters replaced."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
