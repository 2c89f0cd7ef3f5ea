"""Chromium without a window, driven by Playwright. Where either is missing the tests that need it skip, and say so.

Playwright's library is a test dependency; its own download of a browser is not used: the system's Chromium is.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_VARIABLE = "CHROMIUM"  # another program, by its path
SECONDS = 180.0  # that a page may take for anything: a slow machine at work
# Nothing but what is looked at: no sandbox (containers have none), no calls home.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def why_missing() -> str:
    """Return why no browser can be driven here; empty when one can."""
    if importlib.util.find_spec("playwright") is None:
        return "the package playwright is not installed: make test installs it"
    if _program() is None:
        return "there is no Chromium here: on Debian and Ubuntu, apt install chromium"
    return ""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium and end it. Must be ended before anything in this thread runs an event loop of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=_program(), args=list(_OPTIONS), headless=True, timeout=SECONDS * 1000
        )
        try:
            yield made
        finally:
            made.close()


def open_context(browser: Browser) -> BrowserContext:
    """Return a fresh profile with a window of one size, whatever the machine: its pictures can be compared."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", timezone_id="UTC", color_scheme="light"
    )
    context.set_default_timeout(SECONDS * 1000)
    return context


def _program() -> str | None:
    named = os.environ.get(CHROMIUM_VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, PROGRAMS)), None)
