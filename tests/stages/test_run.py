"""Running a stage: reused or built, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.errors import InputMissingError, TemporaryError
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import explain, reopen, run_stage, stage_ingredients
from podsquad.stages.stage import Building
from podsquad.store.artifacts import Artifact, Lookup, Store
from podsquad.store.keys import key_of
from tests.stages.fakes import FakeStages, Told


def test_a_stage_runs_once_and_says_so(fake_stages: FakeStages) -> None:
    settings, told = fake_stages.settings(), Told()
    outcome = run_stage("download", settings, {}, reporter=told)
    assert (outcome.is_reused, outcome.reason) == (False, "nothing made yet")
    assert told.lines[0] == ("info", "download runs: nothing made yet")
    assert told.lines[1][1].startswith("download is done in ")
    record = json.loads((outcome.artifact.path / "record" / "build.json").read_text())
    assert record["reason"] == "nothing made yet"
    assert record["seconds"] >= 0

    told = Told()
    again = run_stage("download", settings, {}, reporter=told)
    assert (again.is_reused, again.reason, again.artifact) == (True, "unchanged", outcome.artifact)
    assert told.lines == [("info", f"download reuses {outcome.artifact.key}")]
    assert fake_stages.ran == ["download"]


@pytest.mark.parametrize(
    ("runtime", "marked"),
    [
        ({"runtime__name": "ipu", "runtime__emulated": True}, ["compile", "train", "evaluate", "publish"]),
        ({"runtime__name": "ipu"}, []),
        ({"runtime__emulated": True}, []),
    ],
    ids=["emulated", "IPUs", "torch"],
)
def test_what_an_emulation_has_part_in_is_told_with_that_word(
    fake_stages: FakeStages, runtime: dict[str, Any], marked: list[str]
) -> None:
    settings, told = fake_stages.settings(**runtime), {name: Told() for name in STAGE_NAMES}
    artifacts: dict[StageName, Artifact] = {}
    for name, reporter in told.items():
        inputs = {each: artifacts[each] for each in STAGES[name].inputs}
        artifacts[name] = run_stage(name, settings, inputs, reporter=reporter).artifact
    assert [name for name, reporter in told.items() if reporter.word == "emulated"] == marked
    assert {reporter.word for name, reporter in told.items() if name not in marked} == {""}


@pytest.mark.parametrize(
    ("runtime", "told"),
    [({"runtime__name": "ipu", "runtime__emulated": True}, "emulated: too hot"), ({}, "too hot")],
    ids=["emulated", "torch"],
)
def test_what_fails_in_an_emulation_is_told_with_that_word_too(
    fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch, runtime: dict[str, Any], told: str
) -> None:
    def fail(building: Building) -> None:
        raise TemporaryError("too hot", why="July", do="wait")

    monkeypatch.setitem(STAGES, "compile", replace(STAGES["compile"], build=fail))
    settings = fake_stages.settings(**runtime)
    dataset = run_stage("download", settings, {}, reporter=Told()).artifact
    features = run_stage("tokenize", settings, {"download": dataset}, reporter=Told()).artifact
    with pytest.raises(TemporaryError) as caught:
        run_stage("compile", settings, {"tokenize": features}, reporter=Told())
    assert str(caught.value) == f"{told}\nWhy: July\nDo: wait"


def test_a_builder_gets_its_key_inputs_and_folders(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Building] = []
    real = STAGES["tokenize"].build

    def build(building: Building) -> None:
        seen.append(building)
        real(building)

    monkeypatch.setitem(STAGES, "tokenize", replace(STAGES["tokenize"], build=build))
    settings = fake_stages.settings()
    dataset = run_stage("download", settings, {}, reporter=Told()).artifact
    features = run_stage("tokenize", settings, {"download": dataset}, reporter=Told()).artifact
    assert seen[0].key == features.key
    assert seen[0].inputs == {"download": dataset}
    assert seen[0].output != seen[0].work


def test_a_change_is_told_against_what_is_nearest(fake_stages: FakeStages) -> None:
    run_stage("download", fake_stages.settings(), {}, reporter=Told())
    run_stage("download", fake_stages.settings(data__demo_seed=7, data__max_bad_share=0.5), {}, reporter=Told())
    outcome = run_stage(
        "download", fake_stages.settings(data__demo_seed=7, data__max_bad_share=0.1), {}, reporter=Told()
    )
    assert outcome.reason == "data.max_bad_share 0.5 -> 0.1"


def test_refresh_runs_in_any_case(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    run_stage("download", settings, {}, reporter=Told())
    outcome = run_stage("download", settings, {}, refresh_for="one run", reporter=Told())
    assert (outcome.is_reused, outcome.reason) == (False, "refresh was asked for")
    assert fake_stages.ran == ["download", "download"]
    run_stage("download", settings, {}, refresh_for="another run", reporter=Told())
    assert fake_stages.ran == ["download"] * 3


def test_a_refresh_is_done_once_for_who_asks(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    run_stage("download", settings, {}, reporter=Told())
    made = run_stage("download", settings, {}, refresh_for="one run", reporter=Told())
    for refresh_for in ("one run", ""):
        again = run_stage("download", settings, {}, refresh_for=refresh_for, reporter=Told())
        assert (again.is_reused, again.artifact) == (True, made.artifact)
    assert fake_stages.ran == ["download", "download"]


def test_damage_is_the_reason_to_run_and_in_the_log(fake_stages: FakeStages) -> None:
    settings, told = fake_stages.settings(), Told()
    artifact = run_stage("download", settings, {}, reporter=Told()).artifact
    (artifact.path / "file").unlink()
    outcome = run_stage("download", settings, {}, reporter=told)
    assert outcome.reason == "its artifact lacks its file file"
    assert outcome.artifact.digest == artifact.digest
    assert [line for _, line in told.lines[:2]] == [
        "download runs: its artifact lacks its file file",
        f"the artifact {artifact.key} lacks its file file; it is set aside and built again",
    ]


def test_a_publication_whose_target_changed_is_published_again(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    fake_stages.run_all(settings)
    fake_stages.stale = "the pointer does not hold this version"
    fake_stages.ran.clear()
    outcomes = fake_stages.run_all(settings)
    assert fake_stages.ran == ["publish"]
    assert outcomes["publish"].reason == fake_stages.stale


def test_a_whole_run_is_reused_and_one_lost_file_rebuilds_one_stage(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    first = fake_stages.run_all(settings)
    assert fake_stages.ran == list(STAGE_NAMES)
    for name in STAGE_NAMES:
        fake_stages.ran.clear()
        (first[name].artifact.path / "file").unlink()
        again = fake_stages.run_all(settings)
        assert fake_stages.ran == [name]
        assert [outcome.artifact.digest for outcome in again.values()] == [
            outcome.artifact.digest for outcome in first.values()
        ]


def test_a_failing_builder_s_error_passes_and_nothing_is_visible(
    fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(building: Building) -> None:
        (building.output / "half").write_text("")
        raise InputMissingError("no such file")

    monkeypatch.setitem(STAGES, "download", replace(STAGES["download"], build=fail))
    settings = fake_stages.settings()
    with pytest.raises(InputMissingError, match="no such file"):
        run_stage("download", settings, {}, reporter=Told())
    assert list(Store(settings.store.path).ingredients("download")) == []


def test_a_reference_is_opened_again_only_if_it_is_what_it_was(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    artifact = fake_stages.run_all(settings)["publish"].artifact
    store = settings.store.path
    assert reopen(store, "publish", artifact.key, artifact.digest) == artifact
    with pytest.raises(TemporaryError, match="is another one"):
        reopen(store, "publish", artifact.key, "0" * 64)
    fake_stages.stale = "the pointer moved"
    with pytest.raises(TemporaryError, match="the pointer moved"):
        reopen(store, "publish", artifact.key, artifact.digest)
    fake_stages.stale = ""
    (artifact.path / "file").unlink()
    with pytest.raises(TemporaryError, match="lacks its file file"):
        reopen(store, "publish", artifact.key, artifact.digest)
    shutil.rmtree(artifact.path)
    with pytest.raises(TemporaryError, match="is gone"):
        reopen(store, "publish", artifact.key, artifact.digest)


def test_an_artifact_in_a_wrong_place_still_gets_a_reason(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    artifact = run_stage("download", settings, {}, reporter=Told()).artifact
    artifact.path.rename(artifact.path.with_name("copied-by-hand"))
    ingredients = stage_ingredients("download", settings, {})
    assert key_of(ingredients) == artifact.key
    assert explain(Store(settings.store.path), ingredients, Lookup(None)) == "its artifact is not in its place"
