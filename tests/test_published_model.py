"""Which model is asked where none is named: a folder's champion, or the Hub's, brought here once and whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import CommitOperationDelete

from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.errors import InputMissingError, StoreError
from podsquad.published_model import published_model
from podsquad.publishing import places
from podsquad.publishing.hub_client import Hub
from tests.publishing.conftest import hub_client, place  # noqa: F401
from tests.publishing.hub_place import REPOSITORY, TOKEN, Model, Place, make_model


def test_a_folder_s_model_is_behind_its_pointer(tmp_path: Path) -> None:
    settings = load_settings("demo", {"publish.folder": str(tmp_path), "publish.name": "reader"}).settings
    with pytest.raises(InputMissingError, match="nothing is published") as caught:
        published_model(settings, print)
    assert "--model" in caught.value.do
    (tmp_path / "reader" / "versions" / "1").mkdir(parents=True)
    (tmp_path / "reader" / "current").symlink_to("versions/1")
    assert published_model(settings, print) == tmp_path / "reader" / "current"


@pytest.fixture
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    made: Place = request.getfixturevalue("place")
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=made.server.endpoint))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    overrides = {"publish.target": "hub", "publish.repository": REPOSITORY, "store.path": str(tmp_path / "store")}
    return load_settings("demo", overrides).settings


def holds(folder: Path, model: Model) -> bool:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found == model.contents


def downloads(hub: Place, name: str) -> int:
    return sum(each.method == "GET" and each.path.endswith(name) for each in hub.server.log)


def test_the_hub_s_champion_is_fetched_once_and_again_where_it_was_damaged(hub: Place, settings: Settings) -> None:
    one, two, three = (make_model(hub.folder, number) for number in (1, 2, 3))
    hub.publish(one)
    lines: list[str] = []
    folder = published_model(settings, lines.append)
    assert holds(folder, one)
    assert len(lines) == 1
    before = downloads(hub, "model.safetensors")
    assert published_model(settings, lines.append) == folder
    assert downloads(hub, "model.safetensors") == before
    (folder / "model.safetensors").write_bytes(b"cut")
    assert published_model(settings, lines.append) == folder
    assert holds(folder, one)
    hub.publish(two)
    newer = published_model(settings, lines.append)
    assert holds(newer, two)
    assert {path.name for path in newer.parent.iterdir()} == {".lock", one.tag, two.tag}
    killed = newer.parent / ".tmp-killed"
    killed.mkdir()
    (killed / "model.safetensors").write_bytes(b"half")
    hub.publish(three)
    newest = published_model(settings, lines.append)
    assert holds(newest, three)
    # The one before stays, for another process may be reading it; nothing half-made does.
    assert {path.name for path in newer.parent.iterdir()} == {".lock", two.tag, three.tag}


def test_two_that_ask_at_once_fetch_it_once(hub: Place, settings: Settings, tmp_path: Path) -> None:
    hub.publish(make_model(hub.folder, 1))
    folder = published_model(settings, lambda line: None)
    folder.rename(tmp_path / "away")
    before, waits = downloads(hub, "model.safetensors"), threading.Event()

    def log(line: str) -> None:
        if "another process is fetching" in line:
            waits.set()

    with ThreadPoolExecutor(1) as pool, FileLock(folder.parent / ".lock"):  # as the other has it
        second = pool.submit(published_model, settings, log)
        assert waits.wait(30)
        (tmp_path / "away").rename(folder)
    assert second.result() == folder
    assert downloads(hub, "model.safetensors") == before


def test_what_is_not_there_is_told(hub: Place, settings: Settings) -> None:
    with pytest.raises(InputMissingError, match="nothing is published in http") as caught:
        published_model(settings, print)
    assert "may not see it" in caught.value.why
    hub.target().hub.api.create_repo(REPOSITORY)
    with pytest.raises(InputMissingError, match="nothing is published in http") as caught:
        published_model(settings, print)
    assert "no version there" in caught.value.why
    hub.publish(make_model(hub.folder, 1))
    hub.target().hub.api.create_commit(REPOSITORY, [CommitOperationDelete("files.json")], commit_message="by hand")
    with pytest.raises(StoreError, match="cannot be read"):
        published_model(settings, print)
    assert not (settings.store.path / ".fetched").exists()


def test_a_store_that_cannot_be_written_is_told(hub: Place, settings: Settings) -> None:
    hub.publish(make_model(hub.folder, 1))
    settings.store.path.write_text("a file")
    with pytest.raises(StoreError, match=f"fetching {REPOSITORY}"):
        published_model(settings, print)
