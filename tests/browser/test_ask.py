"""The page of ``podsquad ask --serve`` as a person meets it, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from podsquad.ask_page import AskServer
from podsquad.errors import SettingsError

if TYPE_CHECKING:
    from playwright.sync_api import Page

NASTY = "<img src=x onerror=\"document.title='taken over'\"><b>bold</b> & </script>"
CONTEXT = f"😀 Ada was born in London.\n  {NASTY}\nShe wrote programs. " + "And so on. " * 400


def answer(question: str, context: str) -> dict[str, Any]:
    """Answer with the question's own words, where the context has them."""
    if question == "fail":
        raise SettingsError(f"it failed {NASTY}", do="ask otherwise")
    start = context.find(question)
    if start < 0:
        return {
            "text": "",
            "char_start": -1,
            "char_end": -1,
            "probability": 0,
            "score": None,
            "before": "",
            "after": context,
        }
    end = start + len(question)
    return {
        "text": question,
        "char_start": start,
        "char_end": end,
        "probability": 0.5,
        "score": 3.25,
        "before": context[:start],
        "after": context[end:],
    }


@pytest.fixture
def asked(page: Page) -> Iterator[Page]:
    """The page, opened; any request to elsewhere fails the test."""
    with AskServer(0, f"model {NASTY}", answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        elsewhere: list[str] = []
        page.on(
            "request", lambda made: None if made.url.startswith((server.url, "data:")) else elsewhere.append(made.url)
        )
        page.goto(server.url)
        yield page
        server.shutdown()
        thread.join()
        assert elsewhere == []
        assert page.title() == "Ask a text"


def ask(page: Page, question: str, context: str = CONTEXT) -> None:
    page.get_by_label("Text", exact=True).fill(context)
    page.get_by_label("Question").fill(question)
    with page.expect_response("**/answer"):
        page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("#button:enabled")


def test_the_answer_is_marked_in_its_text(asked: Page) -> None:
    ask(asked, "London")
    assert asked.locator("#answer").inner_text() == "London"
    assert asked.locator("mark").inner_text() == "London"
    assert asked.locator("#text").text_content() == CONTEXT
    at = CONTEXT.index("London")  # counted in characters, also behind one that a browser counts as two
    assert asked.locator("#figures").inner_text() == f"probability 0.500 · score 3.25 · characters {at} to {at + 6}"
    assert asked.locator("#meter").evaluate("each => each.value") == 0.5


def test_whatever_a_text_holds_is_shown_as_text(asked: Page) -> None:
    ask(asked, NASTY)
    ask(asked, "nothing there <i>")
    assert asked.locator("#answer").inner_text() == "No answer found"
    assert asked.locator("mark").count() == 0
    assert asked.locator("#history li").inner_text() == f"{NASTY}\n{NASTY}"
    assert asked.locator(".model").inner_text() == f"model {NASTY}"
    ask(asked, "fail")
    assert asked.locator("#what").inner_text() == f"it failed {NASTY}"
    assert asked.locator("main img, main b, main i").count() == 0


def test_an_error_goes_away_with_the_next_answer(asked: Page) -> None:
    ask(asked, "fail")
    assert asked.locator("#do").inner_text() == "ask otherwise"
    ask(asked, "Ada")
    assert asked.locator("#failed").is_hidden()
    assert asked.locator("#answer").inner_text() == "Ada"


def test_an_answer_far_down_is_scrolled_to(asked: Page) -> None:
    ask(asked, "the end", "word " * 3000 + "the end")
    assert asked.locator("mark").evaluate(
        "mark => { const a = mark.getBoundingClientRect(), b = mark.parentElement.getBoundingClientRect();"
        " return a.top >= b.top && a.bottom <= b.bottom }"
    )


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_can_be_read(asked: Page, width: int, scheme: Any) -> None:
    asked.set_viewport_size({"width": width, "height": 844})
    asked.emulate_media(color_scheme=scheme)
    ask(asked, "x" * 300, "unbroken" * 200 + "x" * 300)
    ask(asked, "Ada")
    assert asked.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("body", ".model", "button", "mark", ".figures"):
        assert asked.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector  # WCAG 2.2, level AA


CONTRAST = """each => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => numbers(text).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  let behind = each;
  while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const two = [getComputedStyle(each).color, getComputedStyle(behind).backgroundColor].map(light).sort((a, b) => b - a);
  return (two[0] + 0.05) / (two[1] + 0.05);
}"""


def test_a_server_that_is_gone_is_told(page: Page) -> None:
    with AskServer(0, "model", answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        page.goto(server.url)
        server.shutdown()
        thread.join()
    page.get_by_label("Text", exact=True).fill("Ada")
    page.get_by_label("Question").fill("Who?")
    page.get_by_label("Question").press("Enter")
    page.locator("#failed").wait_for()
    assert page.locator("#what").inner_text() == "podsquad does not answer."
