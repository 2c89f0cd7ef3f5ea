"""The page of a run in Prefect's UI: its name, its tags, and what it shows as artifacts.

A view's artifact has one key every night, ``<profile>-<name>``, so that the nights of a profile make a series. The
page is for people: a server that cannot be reached never stops a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run

from podsquad.errors import PodsquadError
from podsquad.views import View

_logger = logging.getLogger("podsquad.prefect")


def run_name() -> str:
    """Return a run's name: its profile, and when it was to start, in the time of this machine."""
    started: datetime = flow_run.scheduled_start_time
    return f"{flow_run.parameters['profile']} {started.astimezone():%Y-%m-%d %H:%M}"


def log_to_page() -> None:
    """Send the domain's log, and with it that of the runtimes, to the page, whatever Prefect's settings say."""
    logger = logging.getLogger("podsquad")
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def show(profile: str, make: Callable[[], Iterable[View]]) -> None:
    """Make views and put them on the page of the run that this is called in."""
    for view in _tried(make) or ():
        _tried(lambda view=view: create_markdown_artifact(view.markdown, f"{profile}-{view.name}", view.title))


def tag_run(*tags: str) -> None:
    """Add tags to the run that this is called in."""
    _tried(lambda: _add_tags(tags))


def _add_tags(tags: Iterable[str]) -> None:
    if (run_id := flow_run.id) and (new := set(tags) - set(flow_run.tags)):
        with get_client(sync_client=True) as client:
            client.update_flow_run(run_id, tags={*flow_run.tags, *new})


def _tried(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except PodsquadError as error:
        _logger.warning("a part of the run's page is left out: %s", error.what)
    except Exception as error:
        _logger.warning("a part of the run's page is left out: %s: %s", type(error).__name__, error)
    return None
