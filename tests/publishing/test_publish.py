"""The publish stage: which verdict there is, and what the target holds after it; at a folder and at a local Hub."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from podsquad.errors import DataError, InputMissingError, TemporaryError
from podsquad.evaluation.scored import ScoredQuestions
from podsquad.publishing.decide import Rescored
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.publish import publish_challenger, read_publication, read_verdict, why_stale
from podsquad.publishing.receipt import read_receipt, version_key
from podsquad.publishing.target import Publication
from podsquad.publishing.verdicts import read_verdicts
from podsquad.views import verdict_view
from tests.publishing.challengers import Desk, question_rows
from tests.publishing.hub_place import REPOSITORY, Place


def test_the_first_is_published_with_a_receipt_that_is_its_key(desk: Desk) -> None:
    verdict, artifact = desk.night("one", 0.8)
    assert (verdict["verdict"], verdict["is_published"], verdict["champion"]) == ("first", True, None)
    publication = read_publication(artifact)
    content = (artifact / "receipt.json").read_bytes()
    assert publication.key == version_key(content)
    receipt = read_receipt(content)
    assert receipt.gate is not None
    assert receipt.gate["verdict"] == "first"
    assert set(receipt.stages) == {"download", "tokenize", "compile", "train", "evaluate"}
    desk.target.fetch(publication.tag, desk.folder / "whole")
    names = {path.relative_to(desk.folder / "whole").as_posix() for path in (desk.folder / "whole").rglob("*.*")}
    assert names >= {"receipt.json", "questions.jsonl", "metrics.json", "README.md", "layout.json", "plots/loss.png"}
    assert (desk.folder / "whole/receipt.json").read_bytes() == content
    assert desk.holds(artifact)


def test_the_same_again_is_unchanged_and_nothing_is_published(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    state = desk.target.state()
    verdict, again = desk.night("one", 0.8)
    assert (verdict["verdict"], verdict["is_published"]) == ("unchanged", False)
    assert desk.target.state() == state
    assert read_publication(again).key == read_publication(first).key
    assert (again / "receipt.json").read_bytes() == (first / "receipt.json").read_bytes()


def test_a_better_one_is_promoted_and_a_worse_one_rejected(desk: Desk) -> None:
    desk.night("one", 0.8)
    verdict, better = desk.night("two", 0.9)
    assert (verdict["verdict"], verdict["champion"]["f1"], verdict["challenger"]["f1"]) == ("promoted", 80.0, 90.0)
    assert desk.champion() == "two"
    verdict, worse = desk.night("three", 0.5)
    assert (verdict["verdict"], verdict["cause"], verdict["is_published"]) == ("rejected", "worse", False)
    assert verdict["champion"]["tag"] == read_publication(better).tag
    assert desk.champion() == "two"
    assert read_publication(worse).key == read_publication(better).key
    assert not (worse / "receipt.json").exists()


def test_how_often_the_questions_were_used_is_counted(desk: Desk) -> None:
    nights = [("a", 0.8), ("b", 0.5), ("c", 0.4), ("d", 0.3), ("d", 0.3)]
    assert [desk.night(name, f1)[0]["num_earlier_uses"] for name, f1 in nights] == [0, 0, 1, 2, 2]


def test_a_verdict_is_stale_when_the_target_moved_on(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    _, worse = desk.night("two", 0.5)
    assert (why_stale(first, desk.target), why_stale(worse, desk.target)) == ("", "")
    desk.night("three", 0.9)
    assert "hold this version" in why_stale(first, desk.target)
    assert "the champion it was judged against changed" in why_stale(worse, desk.target)


def test_what_was_rolled_back_is_not_published_again(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    _, second = desk.night("two", 0.9)
    desk.target.rollback(read_publication(first).tag, "it answers in French", lambda folder: None)
    assert why_stale(second, desk.target)
    verdict, again = desk.night("two", 0.9)
    assert (verdict["verdict"], verdict["cause"], verdict["is_published"]) == ("rejected", "withdrawn", False)
    assert "it answers in French" in verdict["reason"]
    assert desk.champion() == "one"
    (entry,) = desk.target.state().withdrawn.values()
    assert entry["model"] == verdict["challenger_digest"]
    assert why_stale(again, desk.target) == ""
    assert desk.night("three", 0.9)[0]["verdict"] == "promoted"


def other_machine(desk: Desk) -> Desk:
    """A desk with a store of its own before the same target."""
    folder = desk.folder / "other-machine"
    folder.mkdir()
    return Desk(desk.target, folder, seconds=2.0)


def test_what_was_rolled_back_is_known_by_its_model_under_another_card_and_without_its_version(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    _, second = desk.night("two", 0.9)
    desk.target.rollback(read_publication(first).tag, "it answers in French", lambda folder: None)
    if isinstance(desk.target, FolderTarget):
        shutil.rmtree(read_publication(second).url)
    else:
        desk.target.hub.api.delete_tag(REPOSITORY, tag=read_publication(second).tag)
    other = other_machine(desk)
    assert other.night("two", 0.9)[0]["cause"] == "withdrawn"
    assert desk.champion() == "one"
    # Under another card it is another version: one that was not withdrawn by its tag.
    elsewhere = replace(other, target=FolderTarget(desk.folder / "elsewhere", "reader"))
    _, again = elsewhere.night("two", 0.9)
    assert read_publication(again).key not in ("", read_publication(second).key)


@pytest.mark.parametrize(("policy", "champion"), [("keep", "one"), ("publish", "two")])
def test_a_champion_that_cannot_be_scored_on_new_questions_follows_the_policy(
    desk: Desk, policy: str, champion: str
) -> None:
    desk.settings = {"gate.incomparable": policy}
    desk.night("one", 0.8)
    verdict, _ = desk.night("two", 0.9, evaluation="other")
    assert (verdict["verdict"], verdict["is_published"]) == ("incomparable", policy == "publish")
    assert f"gate.incomparable is {policy}" in verdict["policy"]
    assert "evaluation set changed" in verdict["reason"]
    assert desk.champion() == champion


@pytest.mark.parametrize(("f1", "verdict"), [(0.85, "rejected"), (0.7, "promoted")])
def test_a_champion_is_scored_again_on_new_questions(desk: Desk, f1: float, verdict: str) -> None:
    desk.night("one", 0.9)
    asked: list[str] = []

    def rescore(champion: Path) -> Rescored:
        asked.append((champion / "model/model.safetensors").read_text())
        rows = question_rows(f1)
        scored = ScoredQuestions(
            [row["id"] for row in rows], [row["article"] for row in rows], np.array([row["f1"] for row in rows])
        )
        return Rescored({"exact_match": 100 * f1, "f1": 100 * f1, "num_questions": len(rows), "slices": {}}, scored)

    desk.rescore = rescore
    told, _ = desk.night("two", 0.8, evaluation="other")
    assert asked == ["one"]
    assert (told["verdict"], told["champion"]["f1"], told["champion"]["is_rescored"]) == (verdict, 100 * f1, True)
    desk.night("three", 0.1)  # on the questions that the champion was published with
    assert len(asked) == 1 + (verdict == "promoted")


def test_a_rescoring_that_may_succeed_later_is_tried_again(desk: Desk) -> None:
    desk.night("one", 0.9)

    def rescore(champion: Path) -> Rescored:
        raise TemporaryError("the runtime was killed")

    with pytest.raises(TemporaryError, match="was killed"):
        desk.night("two", 0.9, evaluation="other", rescore=rescore)
    assert desk.champion() == "one"


def test_a_stage_that_died_after_its_version_was_current_keeps_its_verdict(desk: Desk) -> None:
    desk.night("one", 0.8)
    order = desk.order(desk.inputs("two", 0.9), work="same")
    publish_challenger(order)
    before = desk.target.state()
    again = desk.order(desk.inputs("two", 0.9), work="same")  # nothing of the first attempt came into the store
    publish_challenger(again)
    assert read_verdict(again.output) == read_verdict(order.output)
    assert (again.output / "receipt.json").read_bytes() == (order.output / "receipt.json").read_bytes()
    assert desk.target.state() == before


def test_a_version_that_does_not_answer_leaves_the_champion(desk: Desk) -> None:
    desk.night("one", 0.8)

    def refuse(folder: Path) -> None:
        raise DataError("it says nothing")

    with pytest.raises(DataError, match="it says nothing"):
        desk.night("two", 0.9, smoke=refuse)
    assert desk.champion() == "one"
    assert desk.night("two", 0.9)[0]["verdict"] == "promoted"


def test_a_reused_verdict_is_unchanged_where_it_published_and_the_same_where_it_did_not(desk: Desk) -> None:
    _, first = desk.night("one", 0.8)
    told = read_verdict(first, is_reused=True)
    publication, scores = read_publication(first), {"exact_match": 80.0, "f1": 80.0, "num_questions": 100}
    assert (told["verdict"], told["is_published"], told["challenger"]) == ("unchanged", False, scores)
    champion = {"tag": publication.tag, "key": publication.key, "is_rescored": False}
    assert told["champion"] == champion | scores
    _, worse = desk.night("two", 0.5)
    assert read_verdict(worse, is_reused=True) == read_verdict(worse)


@pytest.mark.parametrize("is_emulated", [False, True])
def test_a_verdict_on_what_an_emulation_made_says_so(tmp_path: Path, is_emulated: bool) -> None:
    desk = Desk(FolderTarget(tmp_path / "published", "reader"), tmp_path, is_emulated=is_emulated)
    verdict, first = desk.night("one", 0.8)
    told = [verdict, read_verdict(first, is_reused=True), desk.night("one", 0.8)[0], desk.night("two", 0.5)[0]]
    assert [each["verdict"] for each in told] == ["first", "unchanged", "unchanged", "rejected"]
    assert [each.get("emulated") for each in told] == [True if is_emulated else None] * 4
    assert read_verdicts(tmp_path / "store")[-1].get("emulated", False) is is_emulated


def test_a_reused_promotion_tells_of_no_comparison(desk: Desk) -> None:
    desk.night("one", 0.8)
    verdict, better = desk.night("two", 0.9)
    assert verdict["overall"]
    told = read_verdict(better, is_reused=True)
    assert (told["overall"], told["slices"], told["passes"], told["champion"]["f1"]) == (None, [], False, 90.0)
    assert told.keys() == verdict.keys()
    assert told["champion_digest"] == told["challenger_digest"] == verdict["challenger_digest"]
    shown = verdict_view(told).markdown
    assert read_publication(better).tag in shown
    assert "passes" not in shown
    assert "80.00" not in shown


def test_a_use_is_counted_after_the_artifact_is_gone_and_after_the_same_was_judged_again(desk: Desk) -> None:
    _, first = desk.night("a", 0.8)
    _, second = desk.night("b", 0.9)
    desk.target.rollback(read_publication(first).tag, "slow", lambda folder: None)
    assert desk.night("b", 0.9)[0]["cause"] == "withdrawn"
    publications = [read_publication(artifact) for artifact in (first, second)]
    for artifact in (first, second):
        shutil.rmtree(artifact)
    assert desk.night("c", 0.3)[0]["num_earlier_uses"] == 1
    remembered = read_verdicts(desk.folder / "store")
    assert [(each["verdict"], each["cause"]) for each in remembered] == [
        ("first", None),
        ("promoted", None),
        ("rejected", "withdrawn"),
        ("rejected", "worse"),
    ]
    assert [Publication(**each["publication"]) for each in remembered[:2]] == publications
    assert len({each["evaluation"] for each in remembered}) == 3


def test_a_champion_whose_run_was_killed_before_it_tagged_it_is_compared_with(place: Place, tmp_path: Path) -> None:
    desk = Desk(place.target(), tmp_path)
    _, first = desk.night("one", 0.8)
    tag = read_publication(first).tag
    del place.repository().tags[tag]
    verdict, _ = desk.night("two", 0.5)
    assert (verdict["verdict"], verdict["cause"], verdict["champion"]["f1"]) == ("rejected", "worse", 80.0)
    asked: list[str] = []

    def rescore(champion: Path) -> Rescored:
        asked.append((champion / "model/model.safetensors").read_text())
        raise DataError("the weights are of another kind")

    desk.night("three", 0.5, evaluation="other", rescore=rescore)
    assert asked == ["one"]
    with pytest.raises(InputMissingError, match="published nothing at v-000000000000"):
        desk.target.fetch("v-000000000000", tmp_path / "none")


def test_a_night_that_publishes_nothing_sees_the_tag_of_its_champion_to_the_end(place: Place, tmp_path: Path) -> None:
    desk = Desk(place.target(), tmp_path)
    _, first = desk.night("one", 0.8)
    tag = read_publication(first).tag
    commit = place.repository().tags.pop(tag)  # as after a kill between the commit and the tag
    place.repository().create_branch(f"podsquad-candidate-{tag.removeprefix('v-')}-20990101T000000Z", "main")
    verdict, worse = desk.night("two", 0.5)
    assert verdict["verdict"] == "rejected"
    assert place.repository().tags[tag] == commit
    assert set(place.repository().branches) == {"main"}
    assert why_stale(worse, desk.target) == ""


def test_a_champion_that_another_machine_made_and_was_killed_before_it_tagged_it_is_unchanged(
    place: Place, tmp_path: Path
) -> None:
    desk = Desk(place.target(), tmp_path)
    _, first = desk.night("one", 0.8)
    tag = read_publication(first).tag
    commit = place.repository().tags.pop(tag)  # as after a kill between the commit and the tag
    verdict, again = other_machine(desk).night("one", 0.8)
    assert (verdict["verdict"], verdict["is_published"], verdict["policy"]) == ("unchanged", False, "")
    assert place.titles() == [f"Publish {tag}"]
    assert place.repository().tags == {tag: commit}
    assert read_publication(again).key == read_publication(first).key


def test_a_version_that_was_rolled_back_before_it_had_its_tag_stays_withdrawn(place: Place, tmp_path: Path) -> None:
    desk = Desk(place.target(), tmp_path)
    _, first = desk.night("one", 0.8)
    _, second = desk.night("two", 0.9)
    tag = read_publication(second).tag
    commit = place.repository().tags.pop(tag)  # as after a kill between the commit and the tag
    desk.target.rollback(read_publication(first).tag, "it answers in French", lambda folder: None)
    assert place.repository().tags[tag] == commit
    verdict, _ = desk.night("two", 0.9)
    assert (verdict["verdict"], verdict["cause"], verdict["is_published"]) == ("rejected", "withdrawn", False)
    desk.target.rollback(tag, "it was right after all", lambda folder: None)
    assert desk.champion() == "two"
