"""A publisher that is killed at any request leaves what the next run makes good: one commit, one tag, right bytes.

The points are found from the code as it runs: an undisturbed run's requests, before and after each takes effect. Only
those that change something can leave the Hub in a state of its own; at the others the killed process has files of its
own open, so they are points too.
"""

from __future__ import annotations

import copy
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publishing.hub_place import PEOPLE, REPOSITORY, TOKEN, Model, Place, kinds, make_model
from tests.publishing.hub_process import KILLED, Publishers
from tests.publishing.hub_server.server import HubServer, Logged


@pytest.fixture
def publishers(place: Place) -> Iterator[Publishers]:
    with Publishers(place.server.endpoint, TOKEN, place.folder) as made:
        yield made


def order(place: Place, model: Model) -> dict[str, Any]:
    files = {name: str(path) for name, path in model.files.items()}
    work = str(place.folder / "work")
    return {"do": "publish", "repository": REPOSITORY, "work": work, "key": model.key, "files": files}


def repository_with(place: Place, kept: tuple[Model, ...]) -> Callable[[], None]:
    """Publish those versions; return what makes the Hub again as it is then, and only then."""
    for model in kept:
        place.publish(model)
    world = place.server.world
    before = copy.deepcopy((world.repositories, world.large))

    def restore() -> None:
        world.repositories, world.large = copy.deepcopy(before)
        place.server.take_log()

    restore()
    return restore


def kill_at(place: Place, publishers: Publishers, what: dict[str, Any], point: tuple[str, str, int], do: str) -> None:
    """Run a publisher until it waits for that request's answer, and kill it there."""
    method, path, before = point
    place.server.fail(do, method, path, skip=before)
    pid = publishers.start(what)
    assert place.server.faults.wait_held(), f"no such request: {point}"
    os.kill(pid, signal.SIGKILL)
    assert publishers.end() == KILLED
    place.server.faults.clear()


def points(log: list[Logged], changing: bool) -> list[tuple[str, str, int]]:
    """Return the requests of a log that change something, or the others."""
    return [point for point, each in zip(kinds(log), log, strict=True) if each.changes == changing]


def test_a_publisher_in_its_own_process_finds_the_hub_and_the_token_in_its_environment(
    place: Place, publishers: Publishers
) -> None:
    model = make_model(place.folder, 1)
    assert publishers.run(order(place, model)) == 0, (place.folder / "publishers.log").read_text()
    place.check_published(model)


@pytest.mark.parametrize("number", [1, 2], ids=["first", "next"])
@pytest.mark.parametrize("do", ["hold", "hold_after"], ids=["before", "after"])
def test_a_kill_at_every_change_is_made_good_by_the_next_run(
    place: Place, publishers: Publishers, do: str, number: int
) -> None:
    kept = tuple(make_model(place.folder, each, extra="vocab.txt") for each in range(1, number))
    model = make_model(place.folder, number)
    restore = repository_with(place, kept)
    place.publish(model)
    found = points(place.server.take_log(), changing=True)
    told = " ".join(f"{method} {path}" for method, path, _ in found)
    for needed in ("create",) * (number == 1) + (
        "branch",
        "PUT",
        "verify",
        "commit/podsquad",
        "commit/main",
        "tag",
        "DELETE",
    ):
        assert needed in told
    for point in found:
        restore()
        kill_at(place, publishers, order(place, model), point, do)
        place.publish(model)
        place.check_published(model, kept)


def test_a_kill_at_every_look_is_made_good_by_the_next_run(place: Place, publishers: Publishers) -> None:
    model = make_model(place.folder, 1)
    restore = repository_with(place, ())
    place.publish(model)
    found = points(place.server.take_log(), changing=False)
    assert any("/get/" in path for _, path, _ in found)
    for point in found:
        restore()
        kill_at(place, publishers, order(place, model), point, "hold")
        place.publish(model)
        place.check_published(model)


def test_a_kill_of_the_run_that_repairs_is_made_good_too(place: Place, publishers: Publishers) -> None:
    model = make_model(place.folder, 1)
    for path in ("branch/podsquad", "commit/podsquad", "/get/", "commit/main", "/tag/"):
        kill_at(place, publishers, order(place, model), ("POST|GET", path, 0), "hold_after")
    place.publish(model)
    place.check_published(model)


@pytest.mark.parametrize(
    ("do", "looks"),
    [
        pytest.param("hold", False, id="before-changes"),
        pytest.param("hold_after", False, id="after-changes"),
        pytest.param("hold", True, id="at-looks"),
    ],
)
def test_a_kill_at_every_request_of_a_rollback_leaves_one_commit(
    place: Place, publishers: Publishers, do: str, looks: bool
) -> None:
    first, second = make_model(place.folder, 1, extra="vocab.txt"), make_model(place.folder, 2)
    restore = repository_with(place, (first, second))
    place.target().rollback(first.tag, "the reason", place.smoke)
    found = points(place.server.take_log(), changing=not looks)
    assert any(re.search("/get/" if looks else "commit/main", path) for _, path, _ in found)
    what = {"do": "rollback", "repository": REPOSITORY, "work": str(place.folder / "work"), "to": first.tag}
    for point in found:
        restore()
        kill_at(place, publishers, what, point, do)
        place.target().rollback(first.tag, "the reason", place.smoke)
        assert place.titles() == [
            f"Roll back from {second.tag} to {first.tag}",
            f"Publish {second.tag}",
            f"Publish {first.tag}",
        ]
        assert {name: place.content(name) for name in first.files} == first.contents


def test_two_that_publish_the_same_at_once_make_one_commit(tmp_path: Path, hub_client: list[float]) -> None:
    with HubServer(PEOPLE) as server:
        place, twin = Place(server, tmp_path / "one"), Place(server, tmp_path / "two")
        model = make_model(tmp_path, 1)

        def smoke(folder: Path) -> None:
            twin.publish(model)  # the other is quicker, and removes this one's branch

        place.target().publish(model.key, model.files, smoke)
        place.check_published(model)


def kill_before_the_tag(place: Place, publishers: Publishers, model: Model) -> None:
    kill_at(place, publishers, order(place, model), ("POST", "/tag/", 0), "hold")
    assert model.tag not in place.repository().tags
    assert any(name.startswith(f"podsquad-candidate-{model.key[:12]}") for name in place.repository().branches)


def test_a_version_whose_publisher_died_before_its_tag_gets_it_from_the_next_one(
    place: Place, publishers: Publishers
) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    kill_before_the_tag(place, publishers, first)
    commit = place.repository().branches["main"]
    place.publish(second)
    place.check_published(second, (first,))  # of the candidate branches too nothing is left
    assert place.repository().tags[first.tag] == commit
    place.target().rollback(first.tag, "slow", place.smoke)
    assert {name: place.content(name) for name in first.files} == first.contents


def test_a_rollback_takes_the_branch_of_a_dead_publisher_with_it(place: Place, publishers: Publishers) -> None:
    first, second = make_model(place.folder, 1), make_model(place.folder, 2)
    place.publish(first)
    kill_before_the_tag(place, publishers, second)
    place.target().rollback(first.tag, "slow", place.smoke)
    assert set(place.repository().branches) == {"main"}
    assert set(place.repository().tags) == {first.tag, second.tag}


def test_what_a_dead_publisher_left_undone_is_settled_without_publishing(place: Place, publishers: Publishers) -> None:
    model = make_model(place.folder, 1)
    kill_before_the_tag(place, publishers, model)
    place.target().settle()
    place.check_published(model)
    place.server.take_log()
    place.target().settle()
    assert not any(each.changes for each in place.server.take_log())
