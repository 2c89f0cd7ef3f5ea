"""The Hub's token from a Prefect Secret block, before a run and for other verbs: rollback, runs, plan, ask, gc."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret

from podsquad.cli import main
from podsquad.command import publications
from podsquad.command.run import run_retraining
from podsquad.config.load import load_settings
from podsquad.errors import StoppedError
from podsquad.publishing import places
from podsquad.publishing.hub_client import Hub
from tests.publishing.conftest import hub_client, place  # noqa: F401
from tests.publishing.hub_place import REPOSITORY, TOKEN, Place, make_model
from tests.question_models import QUESTION, SHORT, roberta

__all__ = ["roberta"]
BLOCK = "token-for-the-command"


@pytest.fixture
def sets(
    place: Place,  # noqa: F811
    prefect_server: str,
    roberta: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Two versions of a model that answers, in a private repository; the token is in a block alone."""
    Secret(value=TOKEN).save(BLOCK, overwrite=True)
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=place.server.endpoint))
    monkeypatch.setattr(publications, "any_question", lambda log: lambda folder: None)
    for number in (1, 2):
        made = make_model(tmp_path, number)
        files = made.files | {path.name: path for path in roberta.iterdir()}
        place.target(private=True).publish(made.key, files, lambda folder: None)
    assert "HF_TOKEN" not in os.environ
    return [f"publish.repository={REPOSITORY}", "publish.target=hub", f"store.path={tmp_path / 'store'}"]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    assert "HF_TOKEN" not in os.environ
    return int(end.value.code or 0), out


def test_each_verb_reads_the_block_and_forgets_it(sets: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    without = [f"--set={each}" for each in sets]
    having = [*without, f"--set=publish.token_block={BLOCK}"]
    ask = ["ask", QUESTION, "--context", SHORT, "--json"]
    assert call(capsys, *ask, *without)[0] == 64
    code, out = call(capsys, *ask, *having)
    assert (code, bool(json.loads(out)["text"])) == (0, True)
    assert call(capsys, "rollback", "--reason", "slow", *without)[0] == 64
    code, out = call(capsys, "rollback", "--reason", "slow", "--json", *having)
    assert code == 0
    rolled_back = json.loads(out)["from"]
    assert json.loads(call(capsys, "runs", "--json", *without)[1])["rolled_back"] == []
    code, out = call(capsys, "runs", "--json", *having)
    assert [each["tag"] for each in json.loads(out)["rolled_back"]] == [rolled_back]
    assert call(capsys, "gc", "--json", *having)[0] == 0


def test_a_plan_is_checked_with_the_token_of_the_block(
    sets: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [f"--set={each}" for each in sets]

    def publication(*arguments: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(call(capsys, "plan", "--json", *without, *arguments)[1])["checks"]
        return next(each for each in found if each["name"] == "publication")

    assert not publication()["passed"]
    assert publication(f"--set=publish.token_block={BLOCK}")["found"] == f"ada may write to {REPOSITORY}, private"


def test_a_run_is_not_refused_for_another_token_than_that_of_the_block(
    sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = dict(each.split("=") for each in sets) | {"publish.token_block": BLOCK}
    monkeypatch.setenv("HF_TOKEN", "hf_OfSomebodyElse")

    def run_flow(parameters: dict[str, Any]) -> dict[str, Any]:
        raise StoppedError("the flow began")

    with pytest.raises(StoppedError, match="the flow began"):
        run_retraining(load_settings("demo", overrides).settings, overrides, [], run_flow=run_flow, as_json=True)


def test_a_block_that_is_not_there_is_told_and_the_runs_are_shown_all_the_same(
    sets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    having = [*(f"--set={each}" for each in sets), "--set=publish.token_block=nobody-made-it"]
    for arguments in (["ask", QUESTION, "--context", SHORT], ["rollback", "--reason", "slow"]):
        assert call(capsys, *arguments, *having)[0] == 64
    code, out = call(capsys, "runs", "--json", *having)
    assert (code, json.loads(out)) == (0, {"runs": [], "rolled_back": []})
