"""The contract of a target, held against both: a folder, and a repository on a local Hub over real HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from podsquad.errors import DataError, InputMissingError, InternalError, SettingsError, TemporaryError
from podsquad.publishing.target import STAMP, Publication, Target, TargetState
from tests.publishing.hub_place import Model, make_model


@dataclass
class Bench:
    """A target, models to publish there, and the folders that the smoke question was answered from."""

    target: Target
    folder: Path
    asked: list[dict[str, bytes]] = field(default_factory=list)

    def model(self, number: int, extra: str = "") -> Model:
        return make_model(self.folder, number, extra)

    def smoke(self, folder: Path) -> None:
        found = [path for path in folder.rglob("*") if path.is_file() and path.name != "files.json"]
        self.asked.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})

    def publish(self, model: Model, expected: str | None = None) -> Publication:
        return self.target.publish(model.key, model.files, self.smoke, expected)

    def champion(self) -> str | None:
        champion = self.target.state().champion
        return champion.key if champion else None

    def content(self, tag: str) -> dict[str, bytes]:
        self.target.fetch(tag, self.folder / "fetched")
        root = self.folder / "fetched"
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(either_target: Target, tmp_path: Path) -> Bench:
    return Bench(either_target, tmp_path)


def refuse(folder: Path) -> None:
    raise DataError("it says nothing")


def test_a_target_that_is_not_there_holds_nothing(bench: Bench) -> None:
    state = bench.target.state()
    assert (state.exists, state.champion, state.versions, state.expected, state.previous) == (False, None, (), "", None)
    assert bench.target.why_not_held(bench.model(1).key)


def test_a_published_version_is_the_champion_with_its_bytes(bench: Bench) -> None:
    model = bench.model(1)
    publication = bench.publish(model, expected="")
    assert (publication.key, publication.tag, publication.place) == (model.key, model.tag, bench.target.place)
    state = bench.target.state()
    assert state.champion is not None
    assert (state.champion.key, state.champion.receipt) == (model.key, {"number": 1})
    assert set(state.champion.listing.files) == set(model.files)
    assert bench.target.why_not_held(model.key) == ""
    assert bench.content(model.tag) == model.contents
    assert bench.asked == [model.contents]
    described = bench.target.describe(model.key)
    assert (described.url, described.current) == (publication.url, publication.current)


def test_the_same_again_is_the_same_version(bench: Bench) -> None:
    model = bench.model(1)
    first = bench.publish(model)
    state = bench.target.state()
    assert bench.publish(model).url == first.url
    assert bench.target.state() == state
    assert len(bench.asked) == 1


def test_versions_stand_in_the_order_in_which_they_became_current(bench: Bench) -> None:
    one, two = bench.model(1), bench.model(2)
    for model in (one, two, one):
        bench.publish(model)
    state = bench.target.state()
    assert [each.key for each in state.versions] == [one.key, two.key]
    assert state.previous is not None
    assert state.previous.key == two.key
    assert bench.target.why_not_held(one.key) == ""
    assert bench.target.why_not_held(two.key)


def test_a_version_that_cannot_answer_is_not_published(bench: Bench) -> None:
    first, model = bench.model(1), bench.model(2)
    bench.publish(first)
    before = bench.target.state()
    with pytest.raises(DataError, match="it says nothing"):
        bench.target.publish(model.key, model.files, refuse)
    assert bench.champion() == first.key
    assert bench.target.state().expected == before.expected
    bench.publish(model)
    assert bench.champion() == model.key


def test_a_foreign_change_is_noticed(bench: Bench) -> None:
    one, two, three = bench.model(1), bench.model(2), bench.model(3)
    bench.publish(one)
    judged: TargetState = bench.target.state()
    bench.publish(two)  # by somebody else, meanwhile
    with pytest.raises(TemporaryError, match="somebody else"):
        bench.publish(three, expected=judged.expected)
    assert bench.champion() == two.key
    bench.publish(three, expected=bench.target.state().expected)
    assert bench.champion() == three.key


def test_a_first_version_of_somebody_else_is_noticed(bench: Bench) -> None:
    bench.publish(bench.model(1))
    with pytest.raises(TemporaryError, match="somebody else"):
        bench.publish(bench.model(2), expected="")


def test_what_was_decided_before_a_kill_is_taken_up_whatever_changed_since(bench: Bench) -> None:
    model = bench.model(1)
    bench.publish(model)
    assert bench.publish(model, expected="").key == model.key  # it is current already: nothing is overwritten


def test_single_files_can_be_fetched(bench: Bench) -> None:
    model = bench.model(1)
    bench.publish(model)
    listing = bench.target.fetch(model.tag, bench.folder / "some", ("receipt.json", "absent.json"))
    assert set(listing.files) == set(model.files)
    assert [path.name for path in (bench.folder / "some").iterdir()] == ["receipt.json"]
    bench.target.fetch(model.tag, bench.folder / "none", ())
    with pytest.raises(InputMissingError):
        bench.target.fetch("v-000000000000", bench.folder / "some")


def test_a_rollback_restores_the_former_bytes_and_withdraws(bench: Bench) -> None:
    one, two = bench.model(1, extra="vocab.txt"), bench.model(2)
    bench.publish(one)
    bench.publish(two)
    bench.asked.clear()
    publication = bench.target.rollback(one.tag, "it answers\nin French", bench.smoke)
    assert publication.key == one.key
    assert bench.content(one.tag) == one.contents
    assert bench.asked == [one.contents]
    state = bench.target.state()
    assert bench.champion() == one.key
    assert {tag: (each["reason"], each["restored"]) for tag, each in state.withdrawn.items()} == {
        two.tag: ("it answers in French", one.tag)
    }
    assert state.previous is None  # the withdrawn one is none to go back to
    assert bench.target.rollback(one.tag, "again", bench.smoke).key == one.key
    assert bench.target.state() == state


def test_a_rollback_does_not_undo_what_somebody_else_did_meanwhile(bench: Bench) -> None:
    one, two, three = bench.model(1), bench.model(2), bench.model(3)
    bench.publish(one)
    bench.publish(two)
    seen = bench.target.state()
    bench.publish(three)  # by somebody else, meanwhile
    with pytest.raises(TemporaryError, match="somebody else"):
        bench.target.rollback(one.tag, "slow", bench.smoke, seen.expected)
    assert bench.champion() == three.key
    bench.target.rollback(one.tag, "slow", bench.smoke, bench.target.state().expected)
    assert bench.champion() == one.key
    assert bench.target.rollback(one.tag, "slow", bench.smoke, seen.expected).key == one.key  # it is there already


def test_a_withdrawn_version_comes_back_by_a_rollback_alone(bench: Bench) -> None:
    one, two = bench.model(1), bench.model(2)
    bench.publish(one)
    bench.publish(two)
    bench.target.rollback(one.tag, "slow", bench.smoke)
    with pytest.raises(SettingsError, match="was withdrawn") as caught:
        bench.publish(two)
    assert "slow" in caught.value.why
    bench.target.rollback(two.tag, "it was right after all", bench.smoke)
    assert set(bench.target.state().withdrawn) == {one.tag}
    assert bench.champion() == two.key


def test_a_rollback_that_was_undone_is_remembered_by_the_target(bench: Bench) -> None:
    one, two = bench.model(1), bench.model(2)
    bench.publish(one)
    bench.publish(two)
    assert bench.target.state().undone == ()
    for to, reason in ((one, "slow"), (two, "it was right"), (one, "slow after all")):
        bench.target.rollback(to.tag, reason, bench.smoke)
    state = bench.target.state()
    assert {tag: each["reason"] for tag, each in state.withdrawn.items()} == {two.tag: "slow after all"}
    told = [(each["tag"], each["restored"], each["reason"]) for each in state.undone]
    assert told == [(two.tag, one.tag, "slow"), (one.tag, two.tag, "it was right")]
    assert all(datetime.strptime(each["at"], STAMP) for each in state.undone)


@pytest.mark.parametrize(
    ("to", "reason", "error"),
    [("v-000000000000", "slow", InputMissingError), ("", " ", SettingsError)],
    ids=["no such version", "no reason"],
)
def test_a_rollback_that_cannot_be(bench: Bench, to: str, reason: str, error: type[Exception]) -> None:
    one, two = bench.model(1), bench.model(2)
    bench.publish(one)
    bench.publish(two)
    with pytest.raises(error):
        bench.target.rollback(to or one.tag, reason, bench.smoke)
    assert bench.champion() == two.key


@pytest.mark.parametrize("name", ["../evil", "/evil", "files.json", "withdrawn.json", "", "a//b", "a/./b"])
def test_names_that_would_leave_or_hide_something_are_refused(bench: Bench, name: str) -> None:
    model = bench.model(1)
    with pytest.raises(InternalError, match="cannot be the name"):
        bench.target.publish(model.key, model.files | {name: model.files["config.json"]}, bench.smoke)
    assert not bench.target.state().exists


@pytest.mark.parametrize("key", ["", "abc", "../../../../etc", "A" * 64])
def test_what_is_no_key_is_refused(bench: Bench, key: str) -> None:
    with pytest.raises(InternalError, match="is no key"):
        bench.target.publish(key, bench.model(1).files, bench.smoke)
