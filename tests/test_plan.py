"""What would run, before it does: the plan agrees with the run that follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podsquad import plan
from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings
from podsquad.errors import TemporaryError
from podsquad.plan import Plan, make_plan
from podsquad.preflight import Check
from podsquad.stages.catalog import STAGES
from tests.stages.fakes import FakeStages


@pytest.fixture(autouse=True)
def no_estimates(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Leave out what reads the features: those of the stand-ins hold none."""
    asked: list[Any] = []

    def estimate(settings: Settings, features: Path | None, executable: Path | None) -> tuple[()]:
        asked.append((features, executable))
        return ()

    monkeypatch.setattr(plan, "estimate", estimate)
    monkeypatch.setattr(plan, "run_checks", lambda settings, features: (Check("store", True, "fine"),))
    return asked


def actions(made: Plan) -> dict[str, str]:
    return {stage.stage: stage.action for stage in made.stages}


def to_run(made: Plan) -> list[str]:
    return [stage.stage for stage in made.stages if stage.action == "run"]


def reasons(made: Plan) -> dict[str, str]:
    return {stage.stage: stage.reason for stage in made.stages}


def ran(fakes: FakeStages, settings: Settings) -> list[str]:
    """Run all stages and return those that were built."""
    fakes.ran.clear()
    fakes.run_all(settings)
    return list(fakes.ran)


def test_before_the_first_run_everything_runs(fake_stages: FakeStages, no_estimates: list[Any]) -> None:
    settings = fake_stages.settings()
    made = make_plan(settings)
    assert to_run(made) == list(STAGE_NAMES)
    assert reasons(made) == {
        "download": "nothing made yet",
        "tokenize": "its input changes: download runs",
        "compile": "its input changes: tokenize runs",
        "train": "its input changes: compile runs",
        "evaluate": "its input changes: train runs",
        "publish": "its input changes: evaluate runs",
    }
    assert no_estimates == [(None, None)]
    assert not settings.store.path.exists()  # nothing was written
    assert ran(fake_stages, settings) == list(STAGE_NAMES)


def test_after_a_run_six_stages_are_reused(fake_stages: FakeStages, no_estimates: list[Any]) -> None:
    settings = fake_stages.settings()
    outcomes = fake_stages.run_all(settings)
    made = make_plan(settings)
    assert actions(made) == dict.fromkeys(STAGE_NAMES, "reuse")
    assert set(reasons(made).values()) == {"unchanged"}
    for stage in made.stages:
        artifact = outcomes[stage.stage].artifact
        assert (stage.key, stage.path) == (artifact.key, str(artifact.path))
    assert no_estimates == [(outcomes["tokenize"].artifact.path, outcomes["compile"].artifact.path)]
    assert ran(fake_stages, settings) == []


def test_a_changed_learning_rate_runs_train_evaluate_and_publish_alone(fake_stages: FakeStages) -> None:
    fake_stages.run_all(fake_stages.settings())
    settings = fake_stages.settings(training__learning_rate=2e-3)
    made = make_plan(settings)
    assert to_run(made) == ["train", "evaluate", "publish"]
    assert reasons(made)["train"] == "training.learning_rate 0.001 -> 0.002"
    assert reasons(made)["evaluate"] == "its input changes: train runs"
    assert ran(fake_stages, settings) == to_run(made)


@pytest.mark.parametrize(
    ("overrides", "stages", "named"),
    [
        ({"publish__name": "other"}, ["publish"], "publish.name demo-reader -> other"),
        ({"evaluation__num_best": 5}, ["evaluate", "publish"], "evaluation.num_best 20 -> 5"),
        ({"data__demo_seed": 5}, list(STAGE_NAMES), "data.demo_seed 1984 -> 5"),
        ({"features__stride": 32}, list(STAGE_NAMES[1:]), "features.stride 64 -> 32"),
        ({"training__batch_size": 8}, list(STAGE_NAMES[2:]), "training.batch_size 32 -> 8"),
        ({"runtime__threads": 1, "retry__retries": 1, "features__workers": 2}, [], ""),
    ],
)
def test_a_changed_setting_runs_what_it_shapes_and_what_reads_that(
    overrides: dict[str, Any], stages: list[str], named: str, fake_stages: FakeStages
) -> None:
    fake_stages.run_all(fake_stages.settings())
    settings = fake_stages.settings(**overrides)
    made = make_plan(settings)
    assert to_run(made) == stages
    if stages:
        assert reasons(made)[stages[0]] == named
    assert ran(fake_stages, settings) == stages


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_damaged_file_runs_exactly_its_stage(name: str, fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    outcomes = {str(stage): outcome for stage, outcome in fake_stages.run_all(settings).items()}
    (outcomes[name].artifact.path / "file").unlink()
    made = make_plan(settings)
    assert to_run(made) == [name]
    assert reasons(made)[name] == "its artifact lacks its file file"
    assert ran(fake_stages, settings) == [name]


def test_without_its_manifest_nobody_knows_what_an_artifact_will_be(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    outcomes = fake_stages.run_all(settings)
    (outcomes["train"].artifact.path / "manifest.json").unlink()
    assert to_run(make_plan(settings)) == ["train", "evaluate", "publish"]
    assert ran(fake_stages, settings) == ["train"]  # it came out as before, which only the run can tell


def test_a_stale_publication_runs(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    fake_stages.run_all(settings)
    fake_stages.stale = "the pointer moved"
    made = make_plan(settings)
    assert to_run(made) == ["publish"]
    assert reasons(made)["publish"] == "the pointer moved"


def test_a_target_that_does_not_answer_is_the_reason_not_an_exception(
    fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fake_stages.settings()
    fake_stages.run_all(settings)

    def silent(artifact: Path) -> str:
        raise TemporaryError("the Hub does not answer")

    monkeypatch.setitem(STAGES, "publish", replace(STAGES["publish"], why_stale=silent))
    made = make_plan(settings)
    assert to_run(made) == ["publish"]
    assert reasons(made)["publish"] == "the Hub does not answer"


def test_a_refresh_runs_what_it_names(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    fake_stages.run_all(settings)
    made = make_plan(settings, {"tokenize": "plan", "publish": "plan"})
    assert to_run(made) == ["tokenize", "publish"]
    assert reasons(made)["tokenize"] == "refresh was asked for"


def test_an_input_that_is_missing_is_the_reason_not_an_exception(fake_stages: FakeStages) -> None:
    made = make_plan(
        fake_stages.settings(data__source="files", data__train_file="absent.json", data__validation_file=__file__)
    )
    assert reasons(made)["download"] == "data.train_file names absent.json, which is not there"
    assert to_run(made) == list(STAGE_NAMES)


def test_a_plan_is_json_and_clear_unless_a_check_fails(
    fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_plan(fake_stages.settings())
    told = json.loads(json.dumps(made.to_json()))
    assert told["profile"] == "demo"
    assert told["is_clear"] is True
    assert [stage["stage"] for stage in told["stages"]] == list(STAGE_NAMES)
    monkeypatch.setattr(plan, "run_checks", lambda settings, features: (Check("store", False, "full"),))
    assert not make_plan(fake_stages.settings()).is_clear
