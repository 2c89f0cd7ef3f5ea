"""A local Hub for the tests of the Hub publisher, the genuine client made fit for it, and a desk for each target."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.target import Target
from tests.publishing.challengers import Desk
from tests.publishing.hub_place import PEOPLE, Place
from tests.publishing.hub_server.server import HubServer


@pytest.fixture
def hub_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[float]]:
    """Make the client quick, blind for this machine's own login, and do without Xet; yield what it would wait."""
    # The client's own way to send a large file, which httpx2 wants otherwise.
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
    waits: list[float] = []
    quick = SimpleNamespace(**vars(time) | {"sleep": waits.append})
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", quick)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    yield waits
    huggingface_hub.close_session()


@pytest.fixture
def place(tmp_path: Path, hub_client: list[float]) -> Iterator[Place]:
    """Yield a Hub where ada, of the organisation lab, may write."""
    with HubServer(PEOPLE) as server:
        yield Place(server, tmp_path, waits=hub_client)


@pytest.fixture(params=["folder", "hub"])
def either_target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """A target of each kind."""
    if request.param == "folder":
        return FolderTarget(tmp_path / "published", "reader")
    place: Place = request.getfixturevalue("place")
    return place.target()


@pytest.fixture
def desk(either_target: Target, tmp_path: Path) -> Desk:
    """A desk for each kind of target."""
    return Desk(either_target, tmp_path)
