"""A few real-looking paragraphs in SQuAD's layout."""

from __future__ import annotations

import json
from pathlib import Path

PARAGRAPHS = (
    (
        "The Rhine rises in the Swiss Alps and flows through six countries to the North Sea.",
        "Where does the Rhine rise?",
        "the Swiss Alps",
    ),
    (
        "In 1869 Dmitri Mendeleev put the elements into a table, and left places for unknown ones.",
        "Who made the table?",
        "Dmitri Mendeleev",
    ),
    (
        "Bees tell each other by dances where flowers are, how far, and how rich.",
        "How do bees tell?",
        "by dances",
    ),
)


def write_squad(file: Path) -> Path:
    """Write a file in SQuAD v1.1's layout."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"id": str(n), "question": asked, "answers": [{"text": text, "answer_start": context.index(text)}]}
            ],
        }
        for n, (context, asked, text) in enumerate(PARAGRAPHS)
    ]
    file.write_text(json.dumps({"version": "1.1", "data": [{"title": "all", "paragraphs": paragraphs}]}), "utf-8")
    return file
