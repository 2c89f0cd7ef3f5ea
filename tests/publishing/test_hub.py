"""The Hub publisher against a local Hub, through the genuine client: publish, again, roll back, read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from podsquad.errors import DataError, InputMissingError, InternalError, SettingsError, StoreError, TemporaryError
from podsquad.publishing.hub_state import NOTHING
from tests.publishing.hub_place import PEOPLE, REPOSITORY, Place, make_model
from tests.publishing.hub_server.people import Person
from tests.publishing.hub_server.repositories import File, Repository
from tests.publishing.hub_server.server import HubServer


def commit_by_hand(place: Place, name: str, content: bytes, title: str = "By hand") -> None:
    """Let somebody else change one file on main."""
    repository = place.repository()
    files = {**repository.find("main").files, name: File(len(content), content)}
    repository.commit("main", files, title, "", "grace")


def test_a_repository_that_is_not_there_holds_nothing(place: Place) -> None:
    assert place.target().state() == NOTHING
    assert REPOSITORY not in place.server.world.repositories


def test_a_first_version_makes_the_repository_one_commit_and_one_tag(place: Place) -> None:
    model = make_model(place.folder, 1)
    publication = place.target().publish(model.key, model.files, place.smoke)
    place.check_published(model)
    assert place.titles() == [f"Publish {model.tag}"]
    assert publication.commit == place.repository().branches["main"]
    assert (publication.key, publication.tag, publication.place) == (model.key, model.tag, REPOSITORY)
    assert publication.url == f"{place.server.endpoint}/{REPOSITORY}/tree/{model.tag}"
    assert not place.repository().private


def test_the_smoke_question_is_asked_of_what_came_back_from_the_hub_before_main_changes(place: Place) -> None:
    model = make_model(place.folder, 1)
    before: list[int] = []

    def smoke(folder: Path) -> None:
        assert folder.is_relative_to(place.target().work)
        before.append(len(place.titles()))
        place.smoke(folder)

    place.target().publish(model.key, model.files, smoke)
    assert before == [0]
    assert place.asked == [model.contents]


def test_a_model_that_cannot_answer_is_not_published(place: Place) -> None:
    def smoke(folder: Path) -> None:
        raise DataError("it says nothing")

    model = make_model(place.folder, 1)
    with pytest.raises(DataError, match="it says nothing"):
        place.target().publish(model.key, model.files, smoke)
    assert place.titles() == []
    assert place.repository().tags == {}
    place.publish(model)  # and its candidate branch does not outlive the next run
    place.check_published(model)


def test_the_same_again_changes_nothing(place: Place) -> None:
    model = make_model(place.folder, 1)
    first = place.publish(model)
    place.server.take_log()
    assert place.publish(model) == first
    assert not any(each.changes for each in place.server.take_log())
    assert len(place.asked) == 1


def test_a_version_on_main_is_left_whatever_the_files_now_say(place: Place) -> None:
    model = make_model(place.folder, 1)
    first = place.publish(model)
    model.files["README.md"].write_bytes(b"---\nlicense: mit\n---\nanother time, another machine")
    assert place.publish(model) == first
    assert b"Model 1" in place.content("README.md")


def test_the_next_version_takes_its_place_and_the_former_keeps_its_tag(place: Place) -> None:
    first, second = make_model(place.folder, 1, extra="vocab.txt"), make_model(place.folder, 2)
    place.publish(first)
    place.publish(second)
    place.check_published(second, (first,))
    assert "vocab.txt" not in place.repository().find("main").files
    assert {name: place.content(name, first.tag) for name in first.files} == first.contents
    state = place.target().state()
    assert state.champion is not None
    assert state.champion.key == second.key
    assert state.champion.receipt == {"number": 2}
    assert [each.tag for each in state.versions] == [second.tag, first.tag]
    assert state.previous is not None
    assert state.previous.tag == first.tag


def test_files_of_other_people_stay(place: Place) -> None:
    place.publish(make_model(place.folder, 1))
    commit_by_hand(place, "LICENSE", b"Apache")
    second = make_model(place.folder, 2)
    place.publish(second)
    assert place.content("LICENSE") == b"Apache"
    assert place.content(".gitattributes")
    assert place.target().why_not_held(second.key) == ""


def test_a_file_that_somebody_removed_is_not_missed_by_a_version_without_it(place: Place) -> None:
    place.publish(make_model(place.folder, 1, extra="vocab.txt"))
    repository = place.repository()
    files = {name: file for name, file in repository.find("main").files.items() if name != "vocab.txt"}
    repository.commit("main", files, "Remove it", "", "grace")
    second = make_model(place.folder, 2)
    place.publish(second)
    assert place.target().why_not_held(second.key) == ""


def test_a_repository_with_another_model_is_taken_over_and_that_is_told(place: Place) -> None:
    place.server.world.repositories[REPOSITORY] = Repository.new(REPOSITORY, private=False)
    for name in ("config.json", "training_args.txt"):
        commit_by_hand(place, name, b"another model's")
    assert place.target().state().champion is None
    model = make_model(place.folder, 1)
    place.publish(model)
    assert any(line.startswith("config.json of ") and "replaced" in line for line in place.lines)
    assert place.content("training_args.txt") == b"another model's"
    assert place.target().why_not_held(model.key) == ""


def test_a_published_file_that_somebody_changed_is_told_and_put_back(place: Place) -> None:
    model = make_model(place.folder, 1)
    place.publish(model)
    changed = model.contents["README.md"].replace(b"Model 1", b"Model 9")  # of the same size
    commit_by_hand(place, "README.md", changed)
    assert "README.md of " in place.target().why_not_held(model.key)
    place.publish(model)
    assert any("README.md" in line and "changed" in line for line in place.lines)
    assert place.content("README.md") == model.contents["README.md"]
    assert place.titles()[0] == f"Publish {model.tag} again"
    assert place.target().why_not_held(model.key) == ""


def test_a_version_that_was_there_before_comes_back_from_its_tag(place: Place) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    for model in (first, second):
        place.publish(model)
    tagged = place.repository().tags[first.tag]
    first.files["model.safetensors"].write_bytes(b"not what was published under this key")
    place.publish(first)
    assert place.titles() == [f"Publish {first.tag} again", f"Publish {second.tag}", f"Publish {first.tag}"]
    assert place.repository().tags[first.tag] == tagged
    assert place.content("model.safetensors") == place.content("model.safetensors", tagged)


def test_why_not_held_tells_of_another_version_a_missing_tag_and_a_missing_repository(place: Place) -> None:
    model = make_model(place.folder, 1)
    assert place.target().why_not_held(model.key)
    place.publish(model)
    assert place.target().why_not_held(model.key) == ""
    assert place.target().why_not_held("0" * 64)
    place.repository().delete_tag(model.tag)
    assert "has no tag" in place.target().why_not_held(model.key)


@pytest.mark.parametrize("private", [False, True])
def test_a_repository_of_an_organisation_is_made_as_private_as_asked(place: Place, private: bool) -> None:
    model = make_model(place.folder, 1)
    place.target("lab/model", private=private).publish(model.key, model.files, place.smoke)
    assert place.repository("lab/model").private == private
    state = place.target("lab/model").state()
    assert state.champion is not None


def test_large_files_go_in_parts_where_the_hub_says_so(tmp_path: Path, hub_client: list[float]) -> None:
    with HubServer(PEOPLE, part_bytes=1000) as server:
        place = Place(server, tmp_path)
        model = make_model(tmp_path, 1)
        place.publish(model)
        assert sum(each.path.startswith("/part/") for each in server.log) == 7  # 6,400 bytes
        place.check_published(model)


def test_fetch_gives_a_version_s_bytes(place: Place) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    for model in (first, second):
        place.publish(model)
    for name, model in ((first.tag, first), ("main", second)):
        listing = place.target().fetch(name, place.folder / "fetched")
        assert listing.key == model.key
        assert {each: (place.folder / "fetched" / each).read_bytes() for each in listing.files} == model.contents
    with pytest.raises(InputMissingError):
        place.target().fetch("v-000000000000", place.folder / "fetched")


def test_candidates_of_killed_runs_go_and_those_of_running_ones_stay(place: Place) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    place.publish(first)
    others = {
        f"podsquad-candidate-{second.key[:12]}-20260701T020000Z": False,  # an earlier attempt at this version
        "podsquad-candidate-000000000000-20260730T020000Z": False,
        "podsquad-candidate-000000000000-20260801T010000Z": True,  # an hour old: it may be running
        "experiment": True,
    }
    for name in others:
        place.repository().create_branch(name, "main")
    target = replace(place.target(), now=lambda: datetime(2026, 8, 1, 2, tzinfo=UTC))
    target.publish(second.key, second.files, place.smoke)
    assert set(place.repository().branches) == {"main", *(name for name, stays in others.items() if stays)}


def test_a_commit_of_somebody_else_in_between_is_told_and_not_overwritten(place: Place) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    place.publish(first)

    def smoke(folder: Path) -> None:
        commit_by_hand(place, "README.md", b"---\nlicense: mit\n---\nby hand", "Correct the card")

    with pytest.raises(TemporaryError, match="changed by somebody else") as caught:
        place.target().publish(second.key, second.files, smoke)
    assert "'Correct the card' by grace" in caught.value.why
    assert place.titles() == ["Correct the card", f"Publish {first.tag}"]
    place.publish(second)  # again, on top of it
    place.check_published(second, (first,))


def test_a_commit_of_somebody_else_after_a_kill_leaves_the_tag_to_the_own_commit(place: Place) -> None:
    model = make_model(place.folder, 1)
    commit = place.publish(model)
    place.repository().delete_tag(model.tag)
    commit_by_hand(place, "LICENSE", b"Apache")
    place.asked.clear()
    assert place.publish(model) == commit
    assert place.repository().tags[model.tag] == commit
    assert place.asked == [model.contents]  # what the killed run did not see to the end is looked at again


def test_a_tag_that_names_another_model_is_refused(place: Place) -> None:
    model = make_model(place.folder, 1)
    place.publish(model)
    key = model.key[:12] + "f" * 52
    with pytest.raises(StoreError, match="holds another version"):
        place.target().publish(key, model.files, place.smoke)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param("not hexadecimal", "README.md", id="key"),
        pytest.param("0" * 64, "files.json", id="own-file"),
    ],
)
def test_what_cannot_be_published_is_a_bug_of_the_caller(place: Place, key: str, name: str) -> None:
    with pytest.raises(InternalError):
        place.target().publish(key, {name: place.folder / "x"}, place.smoke)
    assert place.server.take_log() == []


def test_a_listing_that_somebody_broke_is_a_lost_champion_and_a_rollback_mends_it(place: Place) -> None:
    one, two = (make_model(place.folder, number) for number in (1, 2))
    place.publish(one)
    place.publish(two)
    commit_by_hand(place, "files.json", b'{"files": 3}')
    state = place.target().state()
    assert (state.champion, state.lost and state.lost.key) == (None, two.key)
    place.target().rollback(two.tag, "mended", place.smoke)
    champion = place.target().state().champion
    assert champion
    assert champion.key == two.key


def test_a_repository_without_a_first_commit_is_told(place: Place) -> None:
    place.server.world.repositories[REPOSITORY] = Repository(REPOSITORY, private=False)
    with pytest.raises(InputMissingError, match="has no branch main"):
        place.target().state()


def test_a_private_repository_of_others_is_not_there(place: Place) -> None:
    place.server.world.people["hf_other"] = Person("grace")
    model = make_model(place.folder, 1)
    place.target(private=True).publish(model.key, model.files, place.smoke)
    assert place.target(token="hf_other").state() == NOTHING
    with pytest.raises(SettingsError, match="refuses access"):
        place.target(token="hf_other").publish(model.key, model.files, place.smoke)
