"""The page of a run in Prefect's UI: its name, its tags, its log, and what it shows as artifacts.

A view's artifact has one key every night, ``<profile>-<name>``, so that the nights of a profile make a series; what an
earlier attempt of the same run has shown already is not shown twice. The page is for people: a server that cannot be
reached never stops a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run

from podsquad.errors import InternalError, PodsquadError, from_os_error, hide_secrets
from podsquad.views import View

_logger = logging.getLogger("podsquad.prefect")
_PREFECT_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_NOT_KEPT = "An error was encountered while committing transaction"  # prefect/transactions.py, of a stage that is done


def run_name() -> str:
    """Return a run's name: its profile, and when it was to start, in the time of this machine."""
    started: datetime = flow_run.scheduled_start_time
    return f"{flow_run.parameters['profile']} {started.astimezone():%Y-%m-%d %H:%M}"


def log_to_page() -> None:
    """Send the domain's log, and with it that of the runtimes, to the page, whatever Prefect's settings say.

    An error that podsquad foresaw stands there once, in its three parts and without a traceback.
    """
    logger = logging.getLogger("podsquad")
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    for name in _PREFECT_LOGGERS:
        prefect_logger = logging.getLogger(name)
        if not any(isinstance(each, _ToldOnce) for each in prefect_logger.filters):
            prefect_logger.addFilter(_ToldOnce())


class _ToldOnce(logging.Filter):
    """Prefect logs a failed run's error several times, with a traceback that is longer than a page."""

    def __init__(self) -> None:
        super().__init__()
        self._told: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) and str(record.msg).startswith(_NOT_KEPT):
            error = from_os_error(error, "keeping Prefect's record of a stage, which is done all the same")
        if not isinstance(error, PodsquadError) or type(error) is InternalError:  # of a bug all is worth reading
            return True
        is_new = error is not self._told
        self._told = error
        record.msg, record.args, record.exc_info, record.exc_text = f"{type(error).__name__}: {error}", (), None, None
        return is_new


def show(profile: str, make: Callable[[], Iterable[View]]) -> None:
    """Make views and put them on the page of the run that this is called in."""
    shown = _tried(_shown_before) or set()
    for view in _tried(make) or ():
        key = f"{profile}-{view.name}"
        if (key, view.markdown) not in shown:
            _tried(lambda key=key, view=view: create_markdown_artifact(view.markdown, key, view.title))


def _shown_before() -> set[tuple[str | None, Any]]:
    """Return keys and contents of what earlier attempts of this run have shown."""
    if (flow_run.run_count or 1) <= 1:
        return set()
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=chosen)
    return {(each.key, each.data) for each in found if isinstance(each.data, str)}


def tag_run(*tags: str) -> None:
    """Add tags to the run that this is called in; of those with a colon the last one of each kind stays."""
    _tried(lambda: _add_tags(tags))


def _add_tags(tags: Iterable[str]) -> None:
    if not (run_id := flow_run.id):
        return
    kinds = tuple(f"{kind}:" for kind, colon, _ in (tag.partition(":") for tag in tags) if colon)
    with get_client(sync_client=True) as client:
        before = set(client.read_flow_run(run_id).tags)
        after = {tag for tag in before if not tag.startswith(kinds)} | set(tags)
        if after != before:
            client.update_flow_run(run_id, tags=after)


def _tried(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except PodsquadError as error:
        _logger.warning("a part of the run's page is left out: %s", error.what)
    except Exception as error:
        # An address in it may hold the password of Prefect's server.
        _logger.warning("a part of the run's page is left out: %s: %s", type(error).__name__, hide_secrets(str(error)))
    return None
