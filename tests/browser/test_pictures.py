"""The pictures in docs/images: each is made by a test, and shown with words for whoever does not see it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deployments.place import HOME

PAGES = (HOME / "README.md", *sorted((HOME / "docs").glob("*.md")))
KEPT = {path.resolve() for path in (HOME / "docs/images").iterdir()}
FEWEST_WORDS = 5


def shown(page: Path) -> dict[Path, str]:
    """Return the files that a page shows, with the words in their place."""
    found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve(): words for words, target in found}


def test_each_picture_is_shown_and_each_that_is_shown_is_there() -> None:
    assert {path for page in PAGES for path in shown(page)} == KEPT


def test_words_stand_for_each_picture() -> None:
    for page in PAGES:
        for path, words in shown(page).items():
            assert len(words.split()) >= FEWEST_WORDS, f"{page.name} says of {path.name} only: {words!r}"


def test_each_picture_is_made_anew_by_make_screenshots() -> None:
    made = re.findall(r'ui\.picture\("(\w+)"', (HOME / "tests/browser/test_night.py").read_text(encoding="utf-8"))
    assert sorted(made) == sorted(path.stem for path in KEPT)
