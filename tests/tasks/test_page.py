"""The page of a run: a broken part of it, or a server that is away, is told and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.logging.handlers import APILogHandler

from podsquad.errors import DataError
from podsquad.views import View
from tasks import page


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The domain's logger as a fresh process has it, put back afterwards."""
    made = logging.getLogger("podsquad")
    handlers, level = list(made.handlers), made.level
    made.handlers, made.level = [], logging.NOTSET
    yield made
    made.handlers = handlers
    made.setLevel(level)


def test_views_have_keys_that_make_a_series_of_their_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(page, "create_markdown_artifact", lambda *arguments: made.append(arguments))
    page.show("pod16", lambda: [View("scores", "F1 80", "# S"), View("plan", "new", "# P")])
    assert made == [("# S", "pod16-scores", "F1 80"), ("# P", "pod16-plan", "new")]


@pytest.mark.parametrize("error", [DataError("no report"), ValueError("a bug")], ids=["DataError", "ValueError"])
def test_a_view_that_cannot_be_made_is_left_out(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    def make() -> list[View]:
        raise error

    page.show("demo", make)
    assert "a part of the run's page is left out" in caplog.text
    assert str(error) in caplog.text


def test_one_artifact_that_cannot_be_sent_leaves_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def create(markdown: str, key: str, title: str) -> None:
        if key == "demo-a":
            raise ConnectionError("no server")
        sent.append(key)

    monkeypatch.setattr(page, "create_markdown_artifact", create)
    page.show("demo", lambda: [View("a", "", ""), View("b", "", "")])
    assert sent == ["demo-b"]
    assert "no server" in caplog.text


def test_outside_of_a_run_there_is_nothing_to_tag() -> None:
    page.tag_run("demo")


def test_the_domain_s_log_goes_to_the_page_once(logger: logging.Logger) -> None:
    page.log_to_page()
    page.log_to_page()
    assert [type(handler) for handler in logger.handlers] == [APILogHandler]
    assert logger.level == logging.INFO


def test_a_level_that_somebody_chose_stays(logger: logging.Logger) -> None:
    logger.setLevel(logging.DEBUG)
    page.log_to_page()
    assert logger.level == logging.DEBUG
