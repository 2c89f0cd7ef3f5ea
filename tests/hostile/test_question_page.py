"""What a browser, or anything else on this machine, posts to the page of ``podsquad ask --serve``."""

from __future__ import annotations

from hypothesis import strategies as st

from podsquad.ask_page import parse_request
from podsquad.errors import DataError
from podsquad.question_excerpt import cut_excerpt, marked_line
from tests.hostile.budget import hostile
from tests.hostile.inputs import ODD_TEXTS, damaged_json

ASKED = {"question": "Where was Ada born?", "context": "Ada was born in London. 😀"}


@hostile(
    "question page",
    body=damaged_json(ASKED),
    context=st.text() | st.sampled_from(ODD_TEXTS),
    place=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_a_request_is_two_texts_or_refused_and_any_text_can_be_shown(
    body: bytes, context: str, place: tuple[int, int]
) -> None:
    try:
        assert all(isinstance(text, str) for text in parse_request(body))
    except DataError as error:
        assert error.what
    start, end = (min(each, len(context)) for each in sorted(place))
    line = marked_line(cut_excerpt(context, start, end), len(context))
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in line)
