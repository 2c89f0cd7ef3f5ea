"""The page of a run: a broken part of it, or a server that is away, is told and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
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


class Server:
    """Prefect's server, as far as a run's page asks it: the run's tags, and what it has shown."""

    def __init__(self, *tags: str) -> None:
        self.tags = list(tags)
        self.shown: list[tuple[str, Any]] = []

    def __call__(self, *, sync_client: bool) -> Server:
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *arguments: object) -> None:
        """End."""

    def read_flow_run(self, run_id: str) -> Any:
        return SimpleNamespace(tags=self.tags)

    def update_flow_run(self, run_id: str, *, tags: set[str]) -> None:
        self.tags = sorted(tags)

    def read_artifacts(self, *, artifact_filter: Any) -> list[Any]:
        return [SimpleNamespace(key=key, data=data) for key, data in self.shown]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, asked from within the second attempt of a run."""
    made = Server("demo", "by hand", "verdict:rejected")
    run = SimpleNamespace(id="6d5f8f0e-41a5-4e58-8a1f-8a62f0b4ea15", run_count=2)
    monkeypatch.setattr(page, "flow_run", run)
    monkeypatch.setattr(page, "get_client", made)
    monkeypatch.setattr(page, "create_markdown_artifact", lambda data, key, title: made.shown.append((key, data)))
    return made


def test_a_retry_does_not_show_the_same_twice(server: Server) -> None:
    server.shown = [("demo-plan", "# 6 run"), ("demo-data", "# D"), ("train-progress", 100.0)]
    page.show("demo", lambda: [View("plan", "", "# 1 runs"), View("data", "", "# D")])
    assert server.shown[3:] == [("demo-plan", "# 1 runs")]


def test_a_run_has_the_last_verdict_alone_and_keeps_its_other_tags(server: Server) -> None:
    page.tag_run("verdict:promoted")
    assert server.tags == ["by hand", "demo", "verdict:promoted"]
    page.tag_run("demo")
    assert server.tags == ["by hand", "demo", "verdict:promoted"]


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


def test_the_password_of_a_server_that_refuses_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> list[View]:
        raise ValueError("Client error '409 Conflict' for url 'http://ada:let-me-in@127.0.0.1:4200/api/artifacts/'")

    page.show("demo", make)
    assert "'409 Conflict' for url 'http://***@127.0.0.1:4200/api/artifacts/'" in caplog.text
    assert "let-me-in" not in caplog.text


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
