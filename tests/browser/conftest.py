"""A browser for the tests of this room: one for a module, with a fresh profile for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import open_browser, open_context, why_missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. It ends with the module, because its library keeps an event loop running meanwhile."""
    if reason := why_missing():
        pytest.skip(reason)
    with open_browser() as made:
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of a fresh profile; an error that a page's script does not catch fails the test."""
    context = open_context(browser)
    made, errors = context.new_page(), []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    context.close()
    assert errors == []
