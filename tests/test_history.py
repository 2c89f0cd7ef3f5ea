"""Past runs, from stores as the stages leave them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.publish_settings import PublishSettings
from podsquad.history import PastRun, champion_for, look_at, past_runs
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.listing import Listing
from podsquad.publishing.target import Champion, Publication, TargetState, Version, tag_of
from podsquad.publishing.verdicts import remember_verdict
from podsquad.store.artifacts import Artifact, Store
from podsquad.store.keys import make_ingredients

RECORDS = {"train": "training.json", "evaluate": "metrics.json", "publish": "verdict.json"}


class Nights:
    """Writes artifacts into a store, an hour apart."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self._hour = root, Store(root / "store"), 0

    def add(self, stage: str, inputs: dict[str, str], files: dict[str, Any]) -> Artifact:
        """Make an artifact of JSON files."""
        self._hour += 1

        def build(output: Path, work: Path, handle: int) -> None:
            for name, content in files.items():
                (output / name).parent.mkdir(exist_ok=True)
                (output / name).write_text(json.dumps(content), encoding="utf-8")

        versions = {"number": str(self._hour)}
        ingredients = make_ingredients(
            stage=stage, format_version=1, settings={}, inputs=inputs, code={}, libraries=versions
        )
        artifact, _ = self.store.ensure(ingredients, build, log=print)
        moment = 1_800_000_000 + 3600 * self._hour
        os.utime(artifact.path / "manifest.json", (moment, moment))
        return artifact

    def evaluate(self, f1: float) -> Artifact:
        """Train and evaluate."""
        training = {"training.json": {"steps": int(f1)}, "record/training.json": {"seconds": 9.5}}
        model = self.add("train", {}, training)
        metrics = {"exact_match": f1 - 5, "f1": f1, "num_questions": 600, "slices": {"view": {"who": {"f1": f1}}}}
        record = {"profile": "demo", "seconds": 1.0}
        files = {"metrics.json": metrics, "record/build.json": record}
        return self.add("evaluate", {"train": model.digest}, files)

    def publish(self, evaluation: Artifact, target: str = "published") -> str:
        """Publish what was evaluated; returns the version's folder."""
        model = self.root / "model"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_text(evaluation.digest)
        folder = self.root / target
        files = {path.name: path for path in model.iterdir()}
        made = FolderTarget(folder, "reader").publish(evaluation.digest, files, lambda folder: None)
        self.judge(evaluation, "promoted", vars(made))
        return made.url

    def judge(self, evaluation: Artifact, verdict: str, publication: dict[str, Any], cause: str | None = None) -> None:
        """Leave what the publish stage leaves."""
        record = {"verdict": verdict, "cause": cause, "is_published": verdict == "promoted"}
        built = {"profile": "demo", "seconds": 1.0}
        files = {"publication.json": publication, "verdict.json": record, "record/build.json": built}
        self.add("publish", {"evaluate": evaluation.digest}, files)

    def runs(self) -> list[PastRun]:
        """What is remembered."""
        return past_runs(self.store.root)


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Nights(tmp_path)


def test_a_store_without_runs(nights: Nights) -> None:
    assert nights.runs() == []


def test_a_run_tells_scores_training_and_publication(nights: Nights) -> None:
    version = nights.publish(nights.evaluate(80.0))
    (run,) = nights.runs()
    assert (run.exact_match, run.f1, run.num_questions) == (75.0, 80.0, 600)
    assert (run.steps, run.seconds) == (80, 9.5)
    assert (run.publication, run.is_current) == (version, True)
    assert run.when == datetime.fromtimestamp(1_800_000_000 + 3 * 3600, UTC)
    told = json.loads(json.dumps(run.to_json()))
    assert told["when"] == "2027-01-15T11:00:00+00:00"
    assert told["slices"] == {"view": {"who": {"f1": 80.0}}}


@pytest.mark.parametrize("where", ["train", "evaluate", "publish"])
def test_a_run_over_the_emulation_says_so(nights: Nights, where: str) -> None:
    nights.publish(nights.evaluate(80.0))
    assert [(run.is_emulated, run.training) for run in nights.runs()] == [(False, "10 s")]
    (record,) = nights.store.root.glob(f"{where}/*/{RECORDS[where]}")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"emulated": True}))
    assert [(run.is_emulated, run.training) for run in nights.runs()] == [(True, "10 s emulated")]
    assert nights.runs()[0].to_json()["is_emulated"] is True


def test_the_newest_comes_first_and_one_is_current(nights: Nights) -> None:
    for f1 in (80.0, 82.0, 81.0):
        nights.publish(nights.evaluate(f1))
    nights.evaluate(70.0)
    assert [(run.f1, bool(run.publication), run.is_current) for run in nights.runs()] == [
        (70.0, False, False),
        (81.0, True, True),
        (82.0, True, False),
        (80.0, True, False),
    ]
    assert nights.runs()[0].profile == "demo"


def test_an_evaluation_that_was_published_twice_stands_twice(nights: Nights) -> None:
    evaluation = nights.evaluate(80.0)
    versions = {nights.publish(evaluation), nights.publish(evaluation, "elsewhere")}
    assert {run.publication for run in nights.runs()} == versions


@pytest.mark.parametrize("name", ["metrics.json", "manifest.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "null"], ids=str)
def test_what_cannot_be_read_is_left_out(nights: Nights, name: str, content: str) -> None:
    nights.evaluate(80.0)
    broken = nights.evaluate(81.0)
    (broken.path / name).write_text(content)
    assert [run.f1 for run in nights.runs()] == [80.0]


def test_a_model_that_is_gone_leaves_the_scores(nights: Nights) -> None:
    nights.evaluate(80.0)
    (manifest,) = (nights.store.root / "train").glob("*/manifest.json")
    manifest.unlink()
    (run,) = nights.runs()
    assert (run.f1, run.steps, run.seconds) == (80.0, None, None)


def test_a_rejected_run_tells_its_cause_and_no_version(nights: Nights) -> None:
    nights.publish(nights.evaluate(80.0))
    champion = FolderTarget(nights.root / "published", "reader")
    held = champion.describe(nights.runs()[0].tag.removeprefix("v-"))
    nights.judge(nights.evaluate(60.0), "rejected", vars(held), "worse")
    rejected, published = nights.runs()
    assert (rejected.verdict, rejected.cause, rejected.tag, rejected.is_current) == ("rejected", "worse", "", False)
    assert (published.verdict, published.is_current, published.place) == ("promoted", True, str(champion.home))


def test_a_version_that_was_rolled_back_tells_why(nights: Nights) -> None:
    for f1 in (80.0, 82.0):
        nights.publish(nights.evaluate(f1))
    newest, oldest = nights.runs()
    FolderTarget(nights.root / "published", "reader").rollback(oldest.tag, "it is slow", lambda folder: None)
    newest, oldest = nights.runs()
    assert (newest.withdrawn, newest.is_current) == ("it is slow", False)
    assert (oldest.withdrawn, oldest.is_current) == ("", True)


def test_a_publication_is_not_forgotten_where_a_later_verdict_took_its_place(nights: Nights) -> None:
    nights.publish(nights.evaluate(80.0))
    evaluation = nights.evaluate(82.0)
    held = Publication("folder", str(nights.root / "published/reader"), "ab" * 16, "v-abababababab", "/v", "/c")
    told = {"at": "2027-01-15T10:30:00+00:00", "profile": "demo", "evaluation": evaluation.digest}
    told |= {"publication": vars(held), "verdict": "promoted", "cause": None, "is_published": True}
    for _ in range(2):  # a kill, and the same again
        remember_verdict(nights.store.root, told)
    remember_verdict(nights.store.root, told | {"at": "yesterday"})
    remember_verdict(nights.store.root, told | {"verdict": "rejected", "cause": "withdrawn", "is_published": False})
    nights.judge(evaluation, "rejected", vars(held), "withdrawn")
    runs = nights.runs()
    assert [(run.f1, run.verdict, run.cause, run.tag) for run in runs if run.f1 == 82.0] == [
        (82.0, "rejected", "withdrawn", ""),
        (82.0, "promoted", "", held.tag),
    ]
    (promoted,) = [run for run in runs if run.tag == held.tag]
    assert promoted.when == datetime.fromisoformat("2027-01-15T10:30:00+00:00")
    assert (promoted.profile, promoted.place) == ("demo", held.place)


def test_a_publication_that_its_artifact_tells_stands_once(nights: Nights) -> None:
    evaluation = nights.evaluate(80.0)
    nights.publish(evaluation)
    (run,) = nights.runs()
    held = vars(FolderTarget(nights.root / "published", "reader").describe(evaluation.digest))
    told = {"at": run.when.isoformat(), "profile": "demo", "evaluation": evaluation.digest, "publication": held}
    remember_verdict(nights.store.root, told | {"verdict": "promoted", "is_published": True})
    assert nights.runs() == [run]


def test_what_the_gate_said_is_told_after_the_artifacts_are_gone_and_after_it_was_asked_again(nights: Nights) -> None:
    nights.publish(nights.evaluate(80.0))
    (published,) = nights.runs()
    held = vars(FolderTarget(nights.root / "published", "reader").describe(published.evaluation))
    other = held | {"key": "cd" * 16, "tag": "v-cdcdcdcdcdcd"}
    rejected = nights.evaluate(60.0)
    nights.judge(rejected, "rejected", held, "worse")
    told = {"at": "2027-01-15T10:30:00+00:00", "profile": "demo", "challenger": published.to_json()}
    told |= {"evaluation": published.evaluation, "verdict": "promoted", "cause": None, "is_published": True}
    scores = {"exact_match": 55.0, "f1": 60.0, "num_questions": 600}
    worse = told | {"evaluation": rejected.digest, "verdict": "rejected", "cause": "worse", "is_published": False}
    for each in (
        told | {"publication": held},
        worse | {"publication": held, "challenger": scores, "at": "2027-01-15T12:30:00+00:00"},
        worse | {"publication": other, "challenger": scores, "at": "2027-01-16T10:30:00+00:00"},  # by another champion
        told | {"publication": held, "verdict": "unchanged", "is_published": False},  # a night that changed nothing
        worse | {"publication": held, "evaluation": "gone", "challenger": {"f1": "high"}},
        worse | {"publication": held, "evaluation": "gone", "challenger": None},
    ):
        remember_verdict(nights.store.root, each)
    whole = [(run.f1, run.verdict, run.cause, run.tag, run.steps) for run in nights.runs()]
    assert whole == [
        (60.0, "rejected", "worse", "", 60),
        (60.0, "rejected", "worse", "", 60),
        (80.0, "promoted", "", held["tag"], 80),
    ]
    for stage in ("train", "evaluate", "publish"):
        shutil.rmtree(nights.store.root / stage)
    runs = nights.runs()
    assert [(run.f1, run.verdict, run.cause, run.tag, run.steps) for run in runs] == [
        (*each[:4], None) for each in whole
    ]
    assert (runs[-1].exact_match, runs[-1].num_questions, runs[-1].is_current) == (75.0, 600, True)
    assert (runs[-1].evaluation_path, runs[-1].slices) == ("", {})


def test_a_target_is_asked_once(nights: Nights) -> None:
    for f1 in (80.0, 82.0):
        nights.publish(nights.evaluate(f1))
    asked: list[str] = []
    runs = past_runs(nights.store.root, lambda publication: asked.append(publication.place))
    assert asked == [str(nights.root / "published/reader")]
    assert [run.is_current for run in runs] == [False, False]


def test_the_champion_is_what_is_published_there_now(nights: Nights) -> None:
    home = PublishSettings(folder=nights.root / "published", name="reader")
    elsewhere = PublishSettings(folder=nights.root / "elsewhere", name="reader")
    first = nights.evaluate(80.0)
    assert champion_for(nights.runs(), first.digest, home) is None
    nights.publish(first)
    assert champion_for(nights.runs(), first.digest, home) is None  # it is its own
    second = nights.evaluate(82.0)
    champion = champion_for(nights.runs(), second.digest, home)
    assert champion is not None
    assert (champion.f1, champion.is_current) == (80.0, True)

    nights.publish(second)
    before = champion_for(nights.runs(), second.digest, home)
    assert before is not None
    assert (before.f1, before.is_current) == (80.0, False)
    assert champion_for(nights.runs(), second.digest, elsewhere) is None


def test_the_champion_on_the_hub_after_a_rollback_is_the_one_that_its_state_names(nights: Nights) -> None:
    settings = PublishSettings(target="hub", repository="ada/reader")
    keys = [digit * 64 for digit in "12"]
    for key, f1 in zip(keys, (80.0, 82.0), strict=True):
        held = Publication(
            "hub", "ada/reader", key, tag_of(key), f"https://h/ada/reader/tree/{tag_of(key)}", "https://h"
        )
        nights.judge(nights.evaluate(f1), "promoted", vars(held))
    withdrawn = {tag_of(keys[1]): {"reason": "it is slow", "restored": tag_of(keys[0]), "at": "20261125T010203Z"}}
    champion = Champion(keys[0], Listing(keys[0], {}), None)
    state = TargetState(True, champion, withdrawn, (Version(keys[0]), Version(keys[1])), "c")
    newest, oldest = runs = past_runs(nights.store.root, look_at(settings, state))
    assert (newest.f1, newest.is_current, newest.withdrawn) == (82.0, False, "it is slow")
    assert (oldest.f1, oldest.is_current, oldest.withdrawn) == (80.0, True, "")
    found = champion_for(runs, "another", settings)
    assert found is not None
    assert (found.f1, found.is_current) == (80.0, True)
    gone = replace(state, champion=None, lost=champion)
    told = champion_for(past_runs(nights.store.root, look_at(settings, gone)), "another", settings)
    assert told is not None
    assert (told.f1, told.is_current) == (80.0, False)  # never what was rolled back
    unknown = past_runs(nights.store.root, look_at(settings, None))
    assert [run.is_current for run in unknown] == [False, False]


def test_a_pointer_that_was_moved_back_names_the_champion(nights: Nights) -> None:
    home = nights.root / "published/reader"
    old = nights.publish(nights.evaluate(80.0))
    nights.publish(nights.evaluate(82.0))
    (home / "current").unlink()
    (home / "current").symlink_to(Path("versions") / Path(old).name)
    settings = PublishSettings(folder=nights.root / "published", name="reader")
    champion = champion_for(nights.runs(), nights.evaluate(83.0).digest, settings)
    assert champion is not None
    assert champion.f1 == 80.0
