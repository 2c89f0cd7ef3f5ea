"""What people see: Markdown that says what the artifacts hold, and nothing that breaks its tables."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.publish_settings import PublishSettings
from podsquad.data.checks import check_split, report
from podsquad.data.squad import Answer, Record
from podsquad.estimates import Estimate
from podsquad.history import PastRun
from podsquad.plan import Plan, PlannedStage
from podsquad.publishing.target import Publication
from podsquad.views import (
    data_view,
    escaped,
    plan_view,
    publication_view,
    scores_view,
    stage_views,
    table,
    training_view,
    verdict_view,
)

PICTURE = re.compile(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,[A-Za-z0-9+/=]+\)")
SLICES = {"question_word": {"who": {"num_questions": 4, "exact_match": 50.0, "f1": 62.5}}}
METRICS: dict[str, Any] = {"exact_match": 80.0, "f1": 85.5, "num_questions": 600, "slices": SLICES}

VERDICT: dict[str, Any] = {
    "verdict": "first",
    "cause": None,
    "reason": "There is no champion yet.",
    "is_published": True,
    "policy": "",
    "champion": None,
    "challenger": {"exact_match": 80.0, "f1": 85.5, "num_questions": 600},
    "overall": None,
    "slices": [],
    "margin_f1": 1.0,
    "slice_margin_f1": 3.0,
    "num_earlier_uses": 0,
}


def rows_of(markdown: str) -> list[list[str]]:
    """Return the cells of all tables' rows, and check that each table is one."""
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("| ")]
    rows = []
    for lines in tables:
        split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
        assert len({len(cells) for cells in split}) == 1
        assert set("".join(split[1])) <= set(" -:")
        rows += [[cell.strip() for cell in cells] for cells in (split[0], *split[2:])]
    return rows


def plan(*actions: Any, reason: str = "unchanged") -> Plan:
    names: Any = ("download", "tokenize", "compile", "train", "evaluate", "publish")
    stages = (PlannedStage(name, action, reason, "", "") for name, action in zip(names, actions, strict=True))
    return Plan("demo", tuple(stages), (Estimate("steps", "282", "a | b"),), ())


def past(f1: float = 84.0, *, is_current: bool = True, num_questions: int = 600, **slices: Any) -> PastRun:
    when = datetime(2026, 11, 24, 3, 10, tzinfo=UTC)
    return PastRun(
        when=when,
        profile="demo",
        exact_match=79.0,
        f1=f1,
        num_questions=num_questions,
        steps=10,
        seconds=1.0,
        is_emulated=False,
        verdict="promoted",
        cause="",
        place="/p",
        tag="v-abc",
        publication="/p/versions/v-abc",
        is_current=is_current,
        withdrawn="",
        evaluation="d",
        evaluation_path="/e",
        slices=slices,
    )


def test_a_plan_says_which_stages_run_and_why() -> None:
    made = plan("reuse", "reuse", "reuse", "run", "run", "run", reason="training.seed 1 -> 2")
    view = plan_view(made, note="Try *this*\n\n# now", changed={"training.seed": 2}, is_published=True)
    assert (view.name, view.title) == ("plan", "3 of 6 stages run")
    assert ["train", "**run**", r"training.seed 1 -\> 2"] in rows_of(view.markdown)
    assert ["steps", "282", r"a \| b"] in rows_of(view.markdown)
    assert "> Try \\*this\\*\n> \n> \\# now" in view.markdown
    assert "Changed for this run: training.seed = 2." in view.markdown


def test_a_plan_without_news_says_so() -> None:
    view = plan_view(plan(*["reuse"] * 6), note=" ", changed={}, is_published=True)
    assert view.title == "Nothing is new: every stage is reused"
    assert ">" not in view.markdown
    assert "Changed" not in view.markdown


def test_a_plan_that_ends_after_evaluate_has_no_publication() -> None:
    view = plan_view(plan(*["run"] * 6), note="", changed={}, is_published=False)
    assert view.title == "5 of 5 stages run"
    assert "publish" not in {row[0] for row in rows_of(view.markdown)}
    assert "ends after evaluate" in view.markdown


def test_the_data_with_what_was_wrong_with_it() -> None:
    good = [Record(f"{n}", "T", "Ada was here.", "Who?", (Answer("Ada", 0),), f"row {n}") for n in range(4)]
    bad = Record("9", "T", "Ada was here.", "", (Answer("Ada", 0),), "row 9")
    splits = [check_split("train", [*good, bad], {}), check_split("validation", [], {})]
    view = data_view(report(splits, 0.5), {"source": "files", "seed": None, "splits": {}})
    assert view.title == "4 questions kept, 1 set aside"
    rows = rows_of(view.markdown)
    assert rows[0] == ["", "train", "validation"]
    assert ["questions kept", "**4**", "**0**"] in rows
    assert ["set aside", "1 of 5", "0 of 0"] in rows
    assert [r"- empty\_question", "1", "0"] in rows
    assert "Origin: source files." in view.markdown
    assert "more than one split" not in view.markdown


def test_contexts_in_two_splits_are_told() -> None:
    record = Record("1", "T", "Ada was here.", "Who?", (Answer("Ada", 0),), "row 1")
    again = Record("2", "T", "Ada was here.", "Who?", (Answer("Ada", 0),), "row 1")
    seen: dict[str, str] = {}
    splits = [check_split("train", [record], seen), check_split("validation", [again], seen)]
    assert "**1 contexts stand in more than one split**" in data_view(report(splits, 0.5), {}).markdown


def test_a_training_is_a_picture_and_its_figures() -> None:
    record = {
        "steps": 1200,
        "final_loss": 0.5,
        "seconds": 61.4,
        "device": "cpu",
        "device_name": "A|B",
        "resumed_from": 0,
    }
    view = training_view([2.0, 1.0], record)
    assert view.title == "last loss 0.5000, steps 1,200"
    assert len(PICTURE.findall(view.markdown)) == 1
    rows = rows_of(view.markdown)
    assert rows[1:] == [["steps", "1,200"], ["last loss", "0.5000"], ["seconds", "61"], ["device", r"A\|B"]]


def test_a_resumed_training_says_so() -> None:
    assert ["resumed from step", "100"] in rows_of(training_view([1.0], {"resumed_from": 100}).markdown)


@pytest.mark.parametrize("is_emulated", [True, False])
def test_what_an_emulation_made_is_shown_as_that(tmp_path: Path, is_emulated: bool) -> None:
    (tmp_path / "record").mkdir()
    training = {"steps": 1, "emulated": is_emulated}
    for name, content in (("training.json", training), ("record/training.json", {}), ("metrics.json", METRICS)):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "history.jsonl").write_text('{"step": 1, "loss": 0.5, "learning_rate": 0.1}\n')
    folders: dict[Any, Path] = {"train": tmp_path, "evaluate": tmp_path}
    for stage in ("train", "evaluate"):
        (view,) = stage_views(stage, folders, list, PublishSettings(name="reader"))
        assert view.title.startswith("emulated: ") == is_emulated
        assert view.markdown.startswith("**Emulated**: no IPU was used") == is_emulated


def test_scores_beside_those_of_the_champion() -> None:
    view = scores_view(METRICS, past(84.0, question_word={"who": {"exact_match": 51.0, "f1": 60.0}}))
    assert view.title == "Exact match 80.00, F1 85.50 (champion 84.00)"
    rows = rows_of(view.markdown)
    assert ["**all**", "600", "80.00", "85.50", "79.00", "84.00", "+1.50"] in rows
    assert ["who", "4", "50.00", "62.50", "51.00", "60.00", "+2.50"] in rows
    assert "version `v-abc` of 2026-11-24 03:10 UTC, which is published now." in view.markdown
    assert "cannot be compared" not in view.markdown
    assert len(PICTURE.findall(view.markdown)) == 1


def test_a_slice_that_the_champion_lacks() -> None:
    assert ["who", "4", "50.00", "62.50", "-", "-", "-"] in rows_of(scores_view(METRICS, past()).markdown)


def test_a_champion_of_other_questions_is_not_compared_in_silence() -> None:
    assert "It answered other questions (599)" in scores_view(METRICS, past(num_questions=599)).markdown


def test_scores_without_a_champion() -> None:
    view = scores_view(METRICS, None)
    assert view.title == "Exact match 80.00, F1 85.50"
    assert rows_of(view.markdown)[0] == ["", "questions", "exact match", "F1"]
    assert "No champion" in view.markdown


@pytest.mark.parametrize("pointer", ["/p/current", "/with space/current"], ids=str)
def test_a_publication_and_how_to_ask_it(pointer: str) -> None:
    publication = Publication("folder", "/p", "ab" * 16, "v-abc", "/p/versions/v-abc", pointer)
    view = publication_view(publication, VERDICT)
    assert view.title == "Version v-abc"
    assert ["published", "`/p/versions/v-abc`"] in rows_of(view.markdown)
    assert ("--model '/with space/current' \\" in view.markdown) == (" " in pointer)


def test_what_stays_after_a_rejected_run() -> None:
    publication = Publication("hub", "o/n", "ab" * 16, "v-abc", "https://h/o/n/tree/v-abc", "https://h/o/n")
    view = publication_view(publication, VERDICT | {"is_published": False})
    assert view.title == "Version v-abc stays"
    assert ["stays published", "[https://h/o/n/tree/v-abc](https://h/o/n/tree/v-abc)"] in rows_of(view.markdown)
    assert "podsquad ask --set publish.target=hub --set publish.repository=o/n \\" in view.markdown


def test_nothing_that_is_published_cannot_be_asked() -> None:
    publication = Publication("hub", "o/n", "", "", "", "https://h/o/n")
    assert "podsquad ask" not in publication_view(publication, VERDICT | {"is_published": False}).markdown


def test_a_first_verdict_has_no_comparison() -> None:
    view = verdict_view(VERDICT)
    assert (view.name, view.title) == ("verdict", "First")
    assert ["challenger", "", "600", "80.00", "85.50"] in rows_of(view.markdown)
    assert "champion" not in view.markdown.replace("no champion", "")


def test_a_count_of_uses_that_is_not_known_is_not_told() -> None:
    assert "were judged on these questions before: 0." in verdict_view(VERDICT).markdown
    assert "were judged" not in verdict_view(VERDICT | {"num_earlier_uses": None}).markdown


def test_a_rejection_stands_beside_the_champion_with_what_it_rests_on() -> None:
    difference = {
        "num_questions": 600,
        "difference_f1": -7.25,
        "lower_f1": -9.0,
        "upper_f1": -5.5,
        "confidence": 0.95,
    }
    part = {"name": "question_word:why", "state": "not_judged", "difference": difference | {"num_questions": 9}}
    champion = {"tag": "v-abc", "exact_match": 88.0, "f1": 92.75, "num_questions": 600, "is_rescored": True}
    verdict = VERDICT | {
        "verdict": "rejected",
        "cause": "worse",
        "reason": "F1 went | down.",
        "champion": champion,
        "overall": difference,
        "slices": [part, part | {"difference": None}],
        "pass_probability_if_equal": 0.5,
        "num_earlier_uses": 1234,
    }
    view = verdict_view(verdict)
    assert view.title == "Rejected (worse)"
    rows = rows_of(view.markdown)
    assert ["champion", "`v-abc`", "600", "88.00", "92.75"] in rows
    assert ["all", "600", "-7.25", "-9.00 to -5.50", "0.95", ""] in rows
    assert [r"question\_word:why", "9", "-7.25", "-9.00 to -5.50", "0.95", "not judged"] in rows
    assert "scored again on this one" in view.markdown
    assert "before: 1,234." in view.markdown
    assert r"F1 went \| down." in view.markdown


def test_what_cannot_be_compared_tells_what_follows() -> None:
    verdict = VERDICT | {"verdict": "incomparable", "policy": "The champion stays.", "champion": {"tag": "v-abc"}}
    view = verdict_view(verdict)
    assert "The champion stays." in view.markdown
    assert ["champion", "`v-abc`", "-", "-", "-"] in rows_of(view.markdown)


@pytest.mark.parametrize("text", ["a|b", "*a*", "<b>", "a\n\nb", "`", "[a](b)", "# a", "\\"], ids=repr)
def test_text_stays_text(text: str) -> None:
    made = escaped(text)
    assert "\n" not in made
    assert re.sub(r"\\(.)", r"\1", made) == " ".join(text.split())
    assert rows_of(table(("a", "b"), [(made, "c")]))[1][1] == "c"
