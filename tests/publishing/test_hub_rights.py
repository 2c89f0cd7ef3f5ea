"""What a token may do is found out before a night's work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from podsquad.errors import SettingsError, TemporaryError
from podsquad.publishing.hub_rights import check_rights
from tests.publishing.hub_place import REPOSITORY, TOKEN, Place, make_model
from tests.publishing.hub_server.people import Person


def scope(kind: str, name: str, *permissions: str) -> dict[str, object]:
    return {"entity": {"_id": "1", "type": kind, "name": name}, "permissions": list(permissions)}


WRITE = ("repo.content.read", "repo.write")


def check(place: Place, person: Person | None, repository: str = REPOSITORY, private: bool = False) -> str:
    if person is not None:
        place.server.world.people["hf_checked"] = person
    return check_rights(place.target(repository, token="hf_checked").hub, private)


@pytest.mark.parametrize(
    ("person", "repository"),
    [
        pytest.param(Person("ada"), REPOSITORY, id="own"),
        pytest.param(Person("ada", orgs={"lab": "write"}), "lab/model", id="organisation"),
        pytest.param(Person("ada", orgs={"lab": "contributor"}), "lab/model", id="contributor"),
        pytest.param(
            Person("ada", "fineGrained", scoped=(scope("user", "ada", *WRITE),)), REPOSITORY, id="fine-grained-own"
        ),
        pytest.param(
            Person("ada", "fineGrained", {"lab": "write"}, (scope("org", "lab", *WRITE),)),
            "lab/model",
            id="fine-grained-organisation",
        ),
    ],
)
@pytest.mark.parametrize("private", [False, True])
def test_a_token_that_may_write_passes_before_and_after_the_first_publication(
    place: Place, person: Person, repository: str, private: bool
) -> None:
    told = check(place, person, repository, private)
    assert told.startswith(f"ada may make {repository}")
    assert repository not in place.server.world.repositories
    model = make_model(place.folder, 1)
    place.target(repository, token="hf_checked", private=private).publish(model.key, model.files, place.smoke)
    told = check(place, person, repository, private)
    assert told == f"ada may write to {repository}" + (", private" if private else "")


@pytest.mark.parametrize(
    ("person", "repository", "why"),
    [
        pytest.param(Person("ada", "read"), REPOSITORY, "a token for reading", id="read"),
        pytest.param(Person("grace"), REPOSITORY, "ada is neither grace nor one of grace's", id="stranger"),
        pytest.param(Person("ada", orgs={"lab": "read"}), "lab/model", "may only read in", id="reader-in-the-org"),
        pytest.param(
            Person("ada", "fineGrained", scoped=(scope("user", "ada", "repo.content.read"),)),
            REPOSITORY,
            "may write to nothing",
            id="fine-grained-read",
        ),
        pytest.param(
            Person("ada", "fineGrained", {"lab": "write"}, (scope("org", "lab", *WRITE),)),
            REPOSITORY,
            "may write to lab",
            id="fine-grained-elsewhere",
        ),
        pytest.param(
            Person("ada", "fineGrained", scoped=(scope("model", REPOSITORY, *WRITE),)),
            REPOSITORY,
            "not there yet",
            id="fine-grained-one-model-that-is-not-there",
        ),
    ],
)
def test_a_token_that_may_not_write_is_told_with_its_reason(
    place: Place, person: Person, repository: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=f"may not publish to {repository}") as caught:
        check(place, person, repository)
    assert why in caught.value.why
    assert "HF_TOKEN" in caught.value.do
    model = make_model(place.folder, 1)
    with pytest.raises(SettingsError):  # and the check was right
        place.target(repository, token="hf_checked").publish(model.key, model.files, place.smoke)


def test_a_right_to_one_model_is_enough_once_it_is_there(place: Place) -> None:
    model, second = make_model(place.folder, 1), make_model(place.folder, 2)
    place.publish(model)
    person = Person("ada", "fineGrained", scoped=(scope("model", REPOSITORY, *WRITE),))
    assert check(place, person) == f"ada may write to {REPOSITORY}"
    place.target(token="hf_checked").publish(second.key, second.files, place.smoke)
    place.check_published(second, (model,))


def test_a_token_that_is_not_valid_is_told(place: Place) -> None:
    with pytest.raises(SettingsError, match="HTTP 401"):
        check(place, None)


def test_no_token_at_all_is_told(place: Place) -> None:
    with pytest.raises(SettingsError, match="there is no token") as caught:
        check_rights(place.target(token=None).hub, private=False)
    assert "hf auth login" in caught.value.do
    assert place.server.take_log() == []


def test_the_token_of_the_login_file_counts(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    assert check_rights(place.target(token=None).hub, private=False) == f"ada may make {REPOSITORY}"


def test_a_public_repository_is_not_taken_for_a_private_one(place: Place) -> None:
    place.publish(make_model(place.folder, 1))
    with pytest.raises(SettingsError, match=r"is public, and publish\.private is set"):
        check(place, Person("ada"), private=True)


def test_a_hub_that_cannot_be_asked_is_a_temporary_error(place: Place) -> None:
    place.server.fail("status", "GET", "whoami", times=99, status=503)
    with pytest.raises(TemporaryError):
        check(place, Person("ada"))
