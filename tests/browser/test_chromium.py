"""The browser itself: it shows a page, runs its script, and its absence is told, not failed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_page_is_shown_and_its_script_runs(page: Page, tmp_path: Path) -> None:
    page.goto("data:text/html,<button onclick='this.textContent=`pressed`'>press</button>")
    page.get_by_role("button", name="press").click()
    assert page.get_by_role("button").inner_text() == "pressed"
    picture = page.screenshot(path=tmp_path / "page.png")
    assert picture.startswith(b"\x89PNG")


def test_each_test_has_a_profile_of_its_own(page: Page) -> None:
    assert page.url == "about:blank"
    assert page.context.cookies() == []


def test_without_chromium_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium.importlib.util, "find_spec", lambda name: object())
    assert "apt install chromium" in chromium.why_missing()


def test_without_playwright_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium.importlib.util, "find_spec", lambda name: None)
    assert "playwright is not installed" in chromium.why_missing()
