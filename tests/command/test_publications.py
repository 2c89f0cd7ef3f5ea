"""``podsquad rollback`` and ``podsquad runs``, at a folder and at a local Hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from podsquad.cli import main
from podsquad.command import publications
from podsquad.publishing import places
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.target import Target
from tests.publishing.conftest import hub_client, place  # noqa: F401
from tests.publishing.hub_place import REPOSITORY, TOKEN, Model, Place, make_model


class Desk:
    """The command against one target that holds two versions."""

    def __init__(self, target: Target, sets: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.target, self.sets, self.folder, self._capsys = target, sets, folder, capsys
        self.models = [make_model(folder, number) for number in (1, 2)]
        for model in self.models:
            target.publish(model.key, model.files, lambda folder: None)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*arguments, *(f"--set={each}" for each in self.sets)])
        out, err = self._capsys.readouterr()
        return int(end.value.code or 0), out, err

    def champion(self) -> str:
        champion = self.target.state().champion
        assert champion
        return champion.key


@pytest.fixture(params=["folder", "hub"])
def desk(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    def any_question(log: Any) -> Callable[[Path], None]:
        return lambda folder: None

    monkeypatch.setattr(publications, "any_question", any_question)
    store = f"store.path={tmp_path / 'store'}"
    if request.param == "folder":
        target = FolderTarget(tmp_path / "published", "reader")
        return Desk(
            target, [store, f"publish.folder={tmp_path / 'published'}", "publish.name=reader"], tmp_path, capsys
        )
    hub: Place = request.getfixturevalue("place")
    # huggingface_hub reads HF_ENDPOINT once, when it is imported.
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=hub.server.endpoint))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return Desk(hub.target(), [store, "publish.target=hub", f"publish.repository={REPOSITORY}"], tmp_path, capsys)


def first(desk: Desk) -> Model:
    return desk.models[0]


def test_back_to_the_version_before(desk: Desk) -> None:
    one, two = desk.models
    code, out, err = desk.run("rollback", "--reason", "it answers in French")
    assert (code, err.count("Traceback")) == (0, 0), err
    assert out.startswith(f"rolled back from {two.tag} to {one.tag}")
    assert desk.champion() == one.key
    code, out, _ = desk.run("runs", "--json")
    (entry,) = json.loads(out)["rolled_back"]
    assert (entry["tag"], entry["restored"], entry["reason"]) == (two.tag, one.tag, "it answers in French")
    code, out, _ = desk.run("runs")
    assert "it answers in French" in out
    assert two.tag in out


def test_to_a_version_by_its_tag_and_again(desk: Desk) -> None:
    one, two = desk.models
    desk.run("rollback", "--reason", "slow")
    told = json.loads(desk.run("rollback", "--to", two.tag, "--reason", "it was right", "--json")[1])
    assert (told["from"], told["to"], told["key"]) == (one.tag, two.tag, two.key)
    told = json.loads(desk.run("runs", "--json")[1])["rolled_back"]
    assert {(each["tag"], each["restored"], each["reason"], each["is_undone"]) for each in told} == {
        (one.tag, two.tag, "it was right", False),
        (two.tag, one.tag, "slow", True),
    }
    (undone,) = [line for line in desk.run("runs")[1].splitlines() if "undone" in line]
    assert undone.split()[-4:] == [two.tag, one.tag, "undone", "slow"]
    code, out, _ = desk.run("rollback", "--to", two.tag, "--reason", "again")
    assert (code, "nothing was to be done" in out) == (0, True)


@pytest.mark.parametrize("is_named", [False, True], ids=["the one before", "a tag"])
def test_what_somebody_else_publishes_meanwhile_is_rolled_back_only_to_a_version_that_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    one, _ = desk.models
    three = make_model(desk.folder, 3)

    def publish_and_ask(log: Any) -> Callable[[Path], None]:  # after the command has looked, before it rolls back
        desk.target.publish(three.key, three.files, lambda folder: None)
        return lambda folder: None

    monkeypatch.setattr(publications, "any_question", publish_and_ask)
    arguments = ["--to", one.tag] if is_named else []
    code, _, err = desk.run("rollback", "--reason", "slow", *arguments)
    assert (code, "somebody else" in err) == ((0, False) if is_named else (75, True)), err
    assert desk.champion() == (one.key if is_named else three.key)


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--reason", " "], 64, "a rollback needs a reason"),
        (["--to", "v-000000000000", "--reason", "slow"], 66, "has no version v-000000000000"),
    ],
    ids=["no reason", "no such version"],
)
def test_what_cannot_be_is_told_in_words(desk: Desk, arguments: list[str], code: int, what: str) -> None:
    ended, _, err = desk.run("rollback", *arguments)
    assert (ended, what in err, "Traceback" in err) == (code, True, False)
    assert desk.champion() == desk.models[1].key


def test_nothing_is_left_to_go_back_to(desk: Desk) -> None:
    desk.run("rollback", "--reason", "slow")
    code, _, err = desk.run("rollback", "--reason", "slow too")
    assert (code, "has no version to go back to" in err) == (66, True)


def test_the_token_is_in_nothing_that_is_printed(desk: Desk) -> None:
    for arguments in (["runs"], ["runs", "--json"], ["rollback", "--reason", "slow"]):
        _, out, err = desk.run(*arguments)
        assert TOKEN not in out + err
