"""``podsquad runs`` and ``podsquad rollback``: what was published, rejected and rolled back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from podsquad.config.publish_settings import PublishSettings
from podsquad.config.settings import Settings
from podsquad.errors import InputMissingError, PodsquadError
from podsquad.history import PastRun, look_at, past_runs
from podsquad.publishing.places import target_of
from podsquad.publishing.smoke import any_question
from podsquad.publishing.target import STAMP, Target, TargetState
from podsquad.terminal import print_json, print_table, told_on_terminal

Token = Callable[[], AbstractContextManager[None]]
"""Lets HF_TOKEN be what may read, and for a rollback write, where the model is published."""
_logger = logging.getLogger("podsquad.publish")


def show_history(settings: Settings, *, token: Token, as_json: bool) -> None:
    """Print past runs with their verdicts, and every rollback at the settings' target, those that were undone too.

    The store tells the runs. The target tells what is current and what was rolled back; where it does not answer, a
    line says so.
    """
    with told_on_terminal():
        state = _state_of(settings.publish, token)
    look = look_at(settings.publish, state)
    show_runs(past_runs(settings.store.path, look), _rollbacks_in(state) if state else [], as_json=as_json)


def show_runs(runs: Sequence[PastRun], rollbacks: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print past runs, and rollbacks in their order."""
    if as_json:
        print_json({"runs": [run.to_json() for run in runs], "rolled_back": list(rollbacks)})
        return
    if not runs:
        print("no run yet: the store holds no evaluation")
    else:
        rows = [
            (
                f"{run.when.astimezone():%Y-%m-%d %H:%M}",
                run.profile or "-",
                f"{run.exact_match:.2f}",
                f"{run.f1:.2f}",
                "-" if run.steps is None else f"{run.steps:,}",
                run.training,
                (run.verdict or "not published") + (f" ({run.cause.replace('_', ' ')})" if run.cause else ""),
                "current" if run.is_current else "rolled back" if run.withdrawn else "",
                run.tag or "-",
                run.publication or run.place or "-",
            )
            for run in runs
        ]
        columns = ("when", "profile", "exact match", "F1", "steps", "training", "verdict", "", "version", "where")
        print_table(columns, rows, right=columns[2:6])
    if rollbacks:
        print()
        told = [
            (_when(each["at"]), each["tag"], each["restored"], "undone" if each["is_undone"] else "", each["reason"])
            for each in rollbacks
        ]
        print_table(("rolled back", "version", "back to", "", "reason"), told)


def roll_back(settings: Settings, to: str | None, reason: str, *, token: Token, as_json: bool) -> None:
    """Make a former version current again and tell which.

    Raises InputMissingError when there is none, SettingsError without a reason, and what the target raises.
    """
    with told_on_terminal(), token(), target_of(settings.publish, _logger.info) as target:
        state = target.state()
        before = state.champion.tag if state.champion else ""
        tag = to or _previous(target, state)
        # A version that was named is meant whatever is current; "the one before" is that of what was looked at.
        publication = target.rollback(tag, reason, any_question(_logger.info), None if to else state.expected)
    if as_json:
        print_json({"from": before, "to": publication.tag, **vars(publication)})
    elif before == publication.tag:
        print(f"{publication.tag} is current in {publication.current}: nothing was to be done")
    else:
        print(f"rolled back from {before or 'nothing'} to {publication.tag}: {publication.current}")


def _previous(target: Target, state: TargetState) -> str:
    if state.previous is None:
        raise InputMissingError(
            f"{target.place} has no version to go back to",
            why="nothing but the current version was published there, or the others were withdrawn",
            do="podsquad runs lists what was published; a withdrawn version is named with --to TAG",
        )
    return state.previous.tag


def _rollbacks_in(state: TargetState) -> list[dict[str, Any]]:
    """Return what the target remembers of rollbacks, the newest first."""
    known = {"reason": "", "restored": "", "at": ""}  # somebody may have taken a word from withdrawn.json
    standing = [{"tag": tag, **known, **entry, "is_undone": False} for tag, entry in state.withdrawn.items()]
    undone = [{**entry, "is_undone": True} for entry in state.undone]
    return sorted([*standing, *undone], key=lambda each: each["at"], reverse=True)


def _state_of(settings: PublishSettings, token: Token) -> TargetState | None:
    try:
        with token(), target_of(settings) as target:
            return target.state()
    except PodsquadError as error:
        _logger.warning("what is current is not known: %s", error.what)
        return None


def _when(stamp: str) -> str:
    try:
        moment = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return stamp
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
