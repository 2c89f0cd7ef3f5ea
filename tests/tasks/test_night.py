"""What a night's page tells of the target: the Hub is asked, with the night's token, and may be silent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.errors import TemporaryError
from podsquad.publishing.listing import Listing
from podsquad.publishing.target import Champion, Publication, TargetState, tag_of
from podsquad.views import View
from tasks import night as module
from tests.test_history import Nights

OLD, NEW = "1" * 64, "2" * 64


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """A store that published two versions to the Hub; the older one is current again."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    made = Nights(tmp_path)
    for key, f1 in ((OLD, 80.0), (NEW, 82.0)):
        url = f"https://h/ada/reader/tree/{tag_of(key)}"
        held = Publication("hub", "ada/reader", key, tag_of(key), url, "https://h/ada/reader")
        made.judge(made.evaluate(f1), "promoted", vars(held))
    return made


def shown(nights: Nights, monkeypatch: pytest.MonkeyPatch, state: Callable[[], TargetState]) -> str:
    """Return the view of all nights, where the Hub answers with ``state``."""
    views: list[View] = []
    tokens: list[str] = []

    @contextmanager
    def target_of(*arguments: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(state=state)

    @contextmanager
    def hub_token(block: str) -> Iterator[None]:
        tokens.append(block)
        yield

    monkeypatch.setattr(module, "target_of", target_of)
    monkeypatch.setattr(module, "hub_token", hub_token)
    monkeypatch.setattr(module, "show", lambda profile, make: views.extend(make()))
    place = {"publish.target": "hub", "publish.repository": "ada/reader", "publish.token_block": "the-token"}
    settings = load_settings("demo", {"store.path": str(nights.store.root), **place}).settings
    module.Night(settings, frozenset()).show_all_nights()
    assert tokens == ["the-token"]
    return views[0].markdown


def test_the_nights_tell_what_the_hub_holds_after_a_rollback(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    withdrawn = {tag_of(NEW): {"reason": "it is slow", "restored": tag_of(OLD), "at": "20261125T010203Z"}}
    state = TargetState(True, Champion(OLD, Listing(OLD, {}), None), withdrawn, (), "c")
    told = shown(nights, monkeypatch, lambda: state)
    assert f"`{tag_of(OLD)}`, **published now**" in told
    assert f"`{tag_of(NEW)}`, withdrawn: it is slow" in told


def test_a_hub_that_does_not_answer_leaves_the_nights(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> TargetState:
        raise TemporaryError("the Hub does not answer")

    told = shown(nights, monkeypatch, silent)
    assert tag_of(OLD) in told
    assert "published now" not in told
