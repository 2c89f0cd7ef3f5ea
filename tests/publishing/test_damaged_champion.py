"""Nights whose champion was harmed: changed by hand, torn, gone, or put right while somebody else publishes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from podsquad.errors import DataError, StoreError, TemporaryError
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub import HubTarget
from podsquad.publishing.listing import read_digest
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.publishing.receipt import read_receipt, version_key
from tests.publishing.challengers import Desk
from tests.publishing.hub_place import REPOSITORY, Place, make_model


def test_a_damaged_champion_is_put_back_by_a_night_without_news(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "published", "reader")
    desk = Desk(target, tmp_path)
    _, first = desk.night("one", 0.8)
    version = Path(read_publication(first).url)
    (version / "model.safetensors").write_text("tampered")
    verdict, again = desk.night("one", 0.8)
    assert verdict["verdict"] == "unchanged"
    assert desk.champion() == "one"
    assert desk.holds(first)
    assert read_publication(again) == read_publication(first)
    receipt = read_receipt((version / "receipt.json").read_bytes())
    for name, entry in receipt.published.items():
        assert read_digest(version / name).sha256 == entry.sha256, name


@pytest.mark.parametrize("content", [b'{"format', b"[]", b"{}"], ids=["torn", "list", "empty"])
def test_a_champion_whose_receipt_is_damaged_is_published_anew(desk: Desk, content: bytes) -> None:
    _, first = desk.night("one", 0.8)
    change_by_hand(desk, first, "receipt.json", content)
    verdict, again = desk.night("one", 0.8)
    assert verdict["verdict"] == "unchanged"
    assert desk.holds(again)
    publication = read_publication(again)
    assert verdict["is_published"]
    assert "becomes a version of its own: " in verdict["policy"]
    assert publication.key != read_publication(first).key
    assert read_verdict(again, is_reused=True)["policy"] == ""
    desk.target.fetch(publication.tag, desk.folder / "anew", ("receipt.json",))
    assert version_key((desk.folder / "anew/receipt.json").read_bytes()) == publication.key


def change_by_hand(desk: Desk, artifact: Path, name: str, content: bytes) -> None:
    """Write another content into a file of the champion."""
    if isinstance(desk.target, HubTarget):
        hub, change = desk.target.hub, CommitOperationAdd(name, content)
        hub.api.create_commit(repo_id=hub.repository, operations=[change], commit_message="by hand")
    else:
        (Path(read_publication(artifact).url) / name).write_bytes(content)


def test_a_card_that_was_changed_by_hand_is_put_back_and_the_verdict_says_so(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    publication = read_publication(first)
    change_by_hand(desk, first, "README.md", b"---\nlicense: mit\n---\nby hand")
    verdict, again = desk.night("one", 0.8)
    assert (verdict["verdict"], verdict["is_published"]) == ("unchanged", False)
    assert "is put right: README.md of" in verdict["policy"]
    assert desk.holds(first)
    assert read_publication(again).key == publication.key
    assert desk.night("one", 0.8)[0]["policy"] == ""


def harm_listing(desk: Desk, artifact: Path, harm: str) -> None:
    """Damage the listing of the champion: torn, removed, or (of a folder) moved away with its version."""
    if not isinstance(desk.target, HubTarget):
        version = Path(read_publication(artifact).url)
        if harm == "torn":
            os.truncate(version / "files.json", 30)
        elif harm == "gone":
            (version / "files.json").unlink()
        else:
            version.rename(desk.folder / "elsewhere")
        return
    torn = CommitOperationAdd("files.json", b'{"key": "ab')
    change = torn if harm == "torn" else CommitOperationDelete("files.json")
    hub = desk.target.hub
    hub.api.create_commit(repo_id=hub.repository, operations=[change], commit_message="by hand")


@pytest.mark.parametrize("harm", ["torn", "gone", "away"])
def test_a_worse_challenger_does_not_come_in_over_a_damaged_champion(desk: Desk, harm: str) -> None:
    _, first = desk.night("one", 0.8)
    _, second = desk.night("two", 0.9)
    tags = [read_publication(artifact).tag for artifact in (first, second)]
    harm_listing(desk, second, harm)
    with pytest.raises(StoreError, match=r"files\.json") as caught:
        desk.night("three", 0.1)
    assert "podsquad rollback --to" in caught.value.do
    state = desk.target.state()
    assert state.champion is None
    assert (state.lost and state.lost.tag, state.previous and state.previous.tag) == (tags[1], tags[0])
    desk.target.rollback(tags[0], "damaged", lambda folder: None)
    assert desk.champion() == "one"
    assert set(desk.target.state().withdrawn) == {tags[1]}
    assert desk.night("three", 0.1)[0]["verdict"] == "rejected"


def test_a_withdrawn_version_that_cannot_be_read_stops_no_night(place: Place, tmp_path: Path) -> None:
    desk = Desk(place.target(), tmp_path)
    _, first = desk.night("one", 0.8)
    _, second = desk.night("two", 0.9)
    harm_listing(desk, second, "torn")
    tag = read_publication(second).tag
    desk.target.rollback(read_publication(first).tag, "damaged", lambda folder: None)
    assert "model" not in desk.target.state().withdrawn[tag]  # it could not be read then
    place.repository().tags[tag] = place.repository().history("main")[1].id  # where its listing is torn
    assert desk.night("three", 0.5)[0]["cause"] == "worse"


def test_a_listing_that_podsquad_never_wrote_is_not_written_over(place: Place, tmp_path: Path) -> None:
    place.target().hub.api.create_repo(REPOSITORY)
    foreign = CommitOperationAdd("files.json", b"[]")
    place.target().hub.api.create_commit(repo_id=REPOSITORY, operations=[foreign], commit_message="by hand")
    with pytest.raises(DataError, match=r"files\.json of .* cannot be read"):
        Desk(place.target(), tmp_path).night("one", 0.8)


@pytest.mark.parametrize("harmed", ["README.md", "receipt.json"])
def test_a_repair_does_not_write_over_what_somebody_else_published_meanwhile(desk: Desk, harmed: str) -> None:
    _, first = desk.night("one", 0.8)
    change_by_hand(desk, first, harmed, b"---\nlicense: mit\n---\nby hand")
    other = make_model(desk.folder, 7)

    def log(line: str) -> None:
        state = desk.target.state()
        if line.startswith("unchanged") and state.champion and state.champion.key != other.key:
            desk.target.publish(other.key, other.files, lambda folder: None)

    with pytest.raises(TemporaryError, match="somebody else"):
        desk.night("one", 0.8, log=log)
    champion = desk.target.state().champion
    assert champion
    assert champion.key == other.key


def test_a_folder_whose_only_version_is_damaged_is_begun_anew_by_removing_the_pointer(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "published", "reader")
    desk = Desk(target, tmp_path)
    _, first = desk.night("one", 0.8)
    harm_listing(desk, first, "gone")
    with pytest.raises(StoreError) as caught:
        desk.night("two", 0.9)
    assert f"remove {target.pointer} to begin anew" in caught.value.do
    target.pointer.unlink()
    assert desk.night("two", 0.9)[0]["verdict"] == "first"
