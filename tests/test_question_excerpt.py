"""The words around an answer: nothing is lost or moved, words stay whole, and a terminal is safe."""

from __future__ import annotations

import pytest

from podsquad.question_excerpt import cut_excerpt, marked_line, shown

CONTEXT = "Ada Lovelace was born in London in 1815, and wrote the first program for an engine never built."


@pytest.mark.parametrize("around", [0, 1, 5, 12, 1000])
@pytest.mark.parametrize("place", [(0, 3), (25, 31), (89, len(CONTEXT)), (5, 5), (0, len(CONTEXT))])
def test_the_parts_stand_in_the_context_as_told(place: tuple[int, int], around: int) -> None:
    start, end = place
    excerpt = cut_excerpt(CONTEXT, start, end, around)
    whole = excerpt.before + excerpt.text + excerpt.after
    assert excerpt.text == CONTEXT[start:end]
    assert CONTEXT[excerpt.char_start : excerpt.char_start + len(whole)] == whole
    assert excerpt.char_start + len(excerpt.before) == start
    assert max(len(excerpt.before), len(excerpt.after)) <= around


def test_words_stay_whole_and_dots_say_where_the_context_goes_on() -> None:
    assert marked_line(cut_excerpt(CONTEXT, 25, 31, 12), len(CONTEXT)) == "…born in >>London<< in 1815,…"
    assert marked_line(cut_excerpt(CONTEXT, 25, 31), len(CONTEXT)) == CONTEXT.replace("London", ">>London<<")


def test_a_context_without_blanks_is_cut_anyway() -> None:
    excerpt = cut_excerpt("漢" * 100, 50, 52, 5)
    assert (excerpt.before, excerpt.text, excerpt.after, excerpt.char_start) == ("漢" * 5, "漢" * 2, "漢" * 5, 45)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\t c", "a b c"), ("a\x1b[31mred\x07", "a�[31mred�"), ("\x9b2J", "�2J"), ("👩‍🚀 é", "👩‍🚀 é")],
)
def test_any_text_is_one_line_without_control_characters(text: str, line: str) -> None:
    assert shown(text) == line
