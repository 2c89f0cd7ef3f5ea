"""Rolling back on the Hub: one commit, the former bytes, the reason where machines and people find it."""

from __future__ import annotations

import json

import pytest

from podsquad.errors import InputMissingError, SettingsError
from tests.publishing.hub_place import Model, Place, make_model
from tests.publishing.test_hub import commit_by_hand


@pytest.fixture
def models(place: Place) -> list[Model]:
    """Three versions that were published one after the other."""
    made = [make_model(place.folder, number, extra="vocab.txt" if number == 1 else "") for number in (1, 2, 3)]
    for model in made:
        place.publish(model)
    place.asked.clear()
    return made


def test_a_rollback_is_one_commit_that_restores_the_bytes_of_the_tag(place: Place, models: list[Model]) -> None:
    first, second, third = models
    target = place.target()
    publication = target.rollback(first.tag, "it answers in French", place.smoke)
    assert place.titles()[0] == f"Roll back from {third.tag} to {first.tag}"
    assert len(place.titles()) == 4
    for name, content in first.contents.items():
        assert place.content(name) == content == place.content(name, first.tag)
    assert set(place.repository().find("main").files) == {
        *first.files,
        ".gitattributes",
        "files.json",
        "withdrawn.json",
    }
    assert (publication.tag, publication.commit) == (first.tag, place.repository().branches["main"])
    assert set(place.repository().tags) == {each.tag for each in models}
    assert place.asked == [first.contents]
    assert target.why_not_held(first.key) == ""
    assert target.why_not_held(second.key)


def test_the_reason_is_in_the_commit_and_in_the_state(place: Place, models: list[Model]) -> None:
    first, second, third = models
    place.target().rollback(second.tag, "it answers in French", place.smoke)
    assert place.repository().history("main")[0].message.startswith("it answers in French\n")
    state = place.target().state()
    assert state.champion is not None
    assert state.champion.receipt == {"number": 2}
    entry = state.withdrawn[third.tag]
    assert (entry["reason"], entry["restored"]) == ("it answers in French", second.tag)
    assert json.loads(place.content("withdrawn.json")) == {third.tag: dict(entry)}
    assert state.previous is not None
    assert state.previous.tag == first.tag  # not the withdrawn one


def test_a_second_call_changes_nothing(place: Place, models: list[Model]) -> None:
    first = place.target().rollback(models[0].tag, "slow", place.smoke)
    commit_by_hand(place, "NOTES.md", b"ours")
    assert place.target().rollback(models[0].tag, "slow", place.smoke) == first
    assert len(place.titles()) == 5


def test_a_second_call_removes_the_branches_that_a_killed_one_left(place: Place, models: list[Model]) -> None:
    first, _, third = models
    place.target().rollback(first.tag, "slow", place.smoke)
    place.repository().create_branch(f"podsquad-candidate-{third.key[:12]}-20990101T000000Z", "main")
    place.target().rollback(first.tag, "slow", place.smoke)
    assert set(place.repository().branches) == {"main"}


def test_a_commit_of_others_that_is_titled_as_a_rollback_is_none(place: Place, models: list[Model]) -> None:
    first, _, third = models
    repository = place.repository()
    files = dict(repository.find("main").files)
    repository.commit("main", files, f"Roll back from {third.tag} to {first.tag}", "by hand", "grace")
    place.publish(make_model(place.folder, 4))
    place.target().rollback(third.tag, "slow", place.smoke)
    assert place.target().state().undone == ()


def test_a_withdrawn_version_is_not_published_again_but_can_be_brought_back(place: Place, models: list[Model]) -> None:
    _, second, third = models
    place.target().rollback(second.tag, "it answers in French", place.smoke)
    with pytest.raises(SettingsError, match="was withdrawn") as caught:
        place.publish(third)
    assert "it answers in French" in caught.value.why
    place.target().rollback(third.tag, "it was right after all", place.smoke)
    state = place.target().state()
    assert state.champion is not None
    assert state.champion.key == third.key
    assert set(state.withdrawn) == {second.tag}


def test_what_was_withdrawn_stays_withdrawn_over_the_next_version(place: Place, models: list[Model]) -> None:
    place.target().rollback(models[1].tag, "slow", place.smoke)
    place.publish(make_model(place.folder, 4))
    assert set(place.target().state().withdrawn) == {models[2].tag}


@pytest.mark.parametrize("tag", ["v-000000000000", "main"])
def test_only_a_version_can_be_rolled_back_to(place: Place, models: list[Model], tag: str) -> None:
    place.repository().create_tag("v-000000000000", "main")  # by hand: podsquad published no such version
    with pytest.raises(InputMissingError, match=f"has no version {tag}") as caught:
        place.target().rollback(tag, "slow", place.smoke)
    assert models[0].tag in caught.value.why


def test_a_rollback_needs_a_reason(place: Place, models: list[Model]) -> None:
    with pytest.raises(SettingsError, match="needs a reason"):
        place.target().rollback(models[0].tag, " ", place.smoke)
    assert len(place.titles()) == 3


def test_what_a_text_quotes_is_not_taken_for_the_line_that_closes_it(place: Place, models: list[Model]) -> None:
    first, _, third = models
    repository = place.repository()
    text = f"Reverts\npodsquad-version: {third.key}\n\npodsquad-version: {first.key}"
    commit = repository.commit("main", dict(repository.find("main").files), "By hand", text, "grace")
    newest = place.target().state().versions[0]
    assert (newest.key, newest.commit) == (first.key, commit.id)


def test_a_reason_of_several_lines_is_no_line_for_programs(place: Place, models: list[Model]) -> None:
    first, _, third = models
    place.target().rollback(first.tag, f"slow\npodsquad-version: {third.key}", place.smoke)
    state = place.target().state()
    assert [each.tag for each in state.versions] == [first.tag, third.tag, models[1].tag]
    assert state.champion is not None
    assert state.champion.key == first.key
