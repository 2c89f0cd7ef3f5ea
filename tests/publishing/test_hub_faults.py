"""The Hub publisher against a Hub that fails, once or for good, at every kind of request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podsquad import hub_waits
from podsquad.errors import InputMissingError, InternalError, PodsquadError, SettingsError, TemporaryError
from tests.publishing.hub_place import REPOSITORY, Model, Place, kinds, make_model

LIMITED = {"status": 429, "headers": {"Retry-After": "7"}}


@pytest.fixture
def former(place: Place) -> Model:
    """A version that is there already."""
    model = make_model(place.folder, 1, extra="vocab.txt")
    place.publish(model)
    return model


def requests_of_a_publication(place: Place) -> list[tuple[str, str]]:
    """Return each kind of request that publishing takes, in the order of their first time."""
    model = make_model(place.folder, 99)
    place.server.take_log()
    place.publish(model)
    found = dict.fromkeys((method, path) for method, path, _ in kinds(place.server.take_log()))
    del place.server.world.repositories[REPOSITORY]
    place.server.world.large.contents.clear()
    return list(found)


def check_stopped(place: Place, former: Model, model: Model, path: str) -> None:
    """Users get the former version, or the whole one where only its tag lacks; with the Hub well the next run ends."""
    titles = [f"Publish {each.tag}" for each in ((model, former) if path == "/tag/" else (former,))]
    assert place.titles() == titles
    assert set(place.repository().tags) == {former.tag}
    place.server.faults.clear()
    place.publish(model)
    place.check_published(model, (former,))


@pytest.mark.parametrize(
    ("do", "more"),
    [
        pytest.param("status", {"status": 500}, id="500"),
        pytest.param("status_after", {"status": 500}, id="500-but-done"),
        pytest.param("status", LIMITED, id="429"),
        pytest.param("cut", {}, id="cut"),
        pytest.param("cut_after", {}, id="cut-but-done"),
        pytest.param("cut_body", {}, id="cut-in-the-answer"),
    ],
)
def test_one_failure_at_any_request_is_waited_out(place: Place, do: str, more: dict[str, Any]) -> None:
    model = make_model(place.folder, 1)
    requests = requests_of_a_publication(place)
    assert len(requests) > 20
    for method, path in requests:
        place.server.fail(do, method, path, **more)
        place.publish(model)
        assert place.server.faults.left() == 0, f"{method} {path} was not met"
        place.check_published(model)
        place.server.faults.clear()
        del place.server.world.repositories[REPOSITORY]
        place.server.world.large.contents.clear()


def test_the_seconds_that_the_hub_asks_to_wait_are_waited(place: Place) -> None:
    place.server.fail("status", "GET", "/refs$", **LIMITED)
    place.target().state()
    assert place.waits == [7.0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/refs$", id="a-call-tried-again-here"),
        pytest.param("POST", "/batch$", id="a-call-tried-again-by-the-client"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Retry-After": "3600"}, id="Retry-After"),
        pytest.param({"RateLimit": '"api";r=0;t=3600'}, id="RateLimit"),
    ],
)
def test_a_wait_of_an_hour_is_not_waited_but_told(
    place: Place, former: Model, method: str, path: str, headers: dict[str, str]
) -> None:
    model = make_model(place.folder, 2)
    place.waits.clear()
    place.server.fail("status", method, path, status=429, headers=headers, times=99)
    with pytest.raises(TemporaryError, match="asks to wait for 3,600 seconds"):
        place.publish(model)
    assert sum(place.waits) < 60
    check_stopped(place, former, model, path)


@pytest.mark.parametrize(
    ("do", "more"),
    [
        pytest.param("status", {"status": 500}, id="500"),
        pytest.param("status", {"status": 429}, id="429"),
        pytest.param("cut", {}, id="cut"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/refs$", "/preupload/", "^/put/", "commit/podsquad", "commit/main", "/tag/", "^/get/"]
)
def test_a_hub_that_keeps_failing_is_a_temporary_error_and_the_next_run_goes_on(
    place: Place, former: Model, do: str, more: dict[str, Any], path: str
) -> None:
    model = make_model(place.folder, 2)
    place.server.fail(do, ".*", path, times=10_000, **more)
    with pytest.raises(TemporaryError) as caught:
        place.publish(model)
    assert caught.value.do
    assert sum(place.waits) < 600
    check_stopped(place, former, model, path)


@pytest.mark.parametrize("path", ["/refs$", "/tree/", "commit/main", "^/get/"])
def test_a_hub_that_never_answers_is_left_after_a_while(
    place: Place, former: Model, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(place.folder, 2)
    with monkeypatch.context() as patch:
        patch.setattr(hub_waits, "ANSWER_SECONDS", 0.1)
        patch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
        place.server.fail("never", ".*", path, times=10_000)
        with pytest.raises(TemporaryError, match="could not be reached or did not answer"):
            place.publish(model)
    check_stopped(place, former, model, path)


def test_a_slow_hub_is_waited_for(place: Place) -> None:
    place.server.fail("delay", times=10_000, seconds=0.01)
    model = make_model(place.folder, 1)
    place.publish(model)
    place.check_published(model)


@pytest.mark.parametrize(
    "path", [pytest.param("^/get/", id="large"), pytest.param("/resolve/.*/config.json", id="small")]
)
def test_a_byte_that_is_damaged_on_the_way_back_is_noticed_and_fetched_again(place: Place, path: str) -> None:
    model = make_model(place.folder, 1)
    place.server.fail("corrupt", "GET", path)
    place.publish(model)
    assert any("came back" in line for line in place.lines)
    place.check_published(model)


def test_a_hub_that_gives_back_other_bytes_never_gets_them_on_main(place: Place, former: Model) -> None:
    head = place.repository().branches["main"]
    place.server.fail("corrupt", "GET", "^/get/", times=10_000)
    with pytest.raises(TemporaryError, match=r"model\.safetensors.* came back with other bytes than listed"):
        place.publish(make_model(place.folder, 2))
    assert place.repository().branches["main"] == head
    assert len(place.asked) == 1  # of the former version: nobody was asked over damaged weights


def test_a_byte_that_is_damaged_on_the_way_there_is_refused_by_the_hub_and_sent_again(place: Place) -> None:
    place.server.fail("corrupt", "PUT", "^/put/")
    model = make_model(place.folder, 1)
    place.publish(model)
    place.check_published(model)


def test_a_main_that_is_not_what_was_committed_is_told(place: Place, former: Model) -> None:
    model = make_model(place.folder, 2)

    def swap() -> None:
        repository = place.repository()
        head = repository.find("main")
        head.files["config.json"] = head.files["README.md"]

    place.server.fail("call", "GET", "/tree/", skip=1, call=swap)  # when it is looked at after the commit
    with pytest.raises(InternalError, match=r"config\.json of .* are not what was committed"):
        place.publish(model)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, SettingsError), (403, SettingsError), (402, SettingsError)],
)
@pytest.mark.parametrize("path", ["/branch/", "commit/podsquad", "commit/main", "/tag/"])
def test_a_refusal_is_told_at_once(
    place: Place, former: Model, path: str, status: int, kind: type[PodsquadError]
) -> None:
    model = make_model(place.folder, 2)
    place.waits.clear()
    place.server.fail("status", "POST", path, status=status, times=10_000)
    with pytest.raises(kind, match=f"HTTP {status}") as caught:
        place.publish(model)
    assert "HF_TOKEN" in caught.value.do
    assert place.waits == []
    check_stopped(place, former, model, path)


@pytest.mark.parametrize("path", ["/branch/", "commit/podsquad", "commit/main", "/tag/"])
def test_what_is_not_there_is_told_at_once(place: Place, former: Model, path: str) -> None:
    model = make_model(place.folder, 2)
    place.waits.clear()
    place.server.fail("status", "POST", path, status=404, times=10_000)
    with pytest.raises(InputMissingError, match="HTTP 404") as caught:
        place.publish(model)
    assert caught.value.do
    assert place.waits == []
    check_stopped(place, former, model, path)


def test_offline_mode_is_told_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PodsquadError, match="offline mode is set"):
        place.target().state()
    assert place.server.take_log() == []


def test_a_candidate_that_another_run_removes_is_told(place: Place, former: Model) -> None:
    def remove() -> None:
        repository = place.repository()
        for name in [each for each in repository.branches if each != "main"]:
            repository.delete_branch(name)

    place.server.fail("call", "POST", "commit/podsquad", call=remove)
    with pytest.raises(TemporaryError, match="is gone"):
        place.publish(make_model(place.folder, 2))
    assert place.repository().branches == {"main": place.repository().tags[former.tag]}


def test_the_work_folder_is_left_without_downloads_that_are_wrong(place: Place) -> None:
    place.server.fail("corrupt", "GET", "^/get/", times=10_000)
    with pytest.raises(TemporaryError):
        place.publish(make_model(place.folder, 1))
    assert not list(Path(place.target().work).rglob("*.safetensors"))
