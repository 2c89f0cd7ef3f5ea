"""What the settings make of a task, and which failures are tried again."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed
from prefect.task_engine import TaskRunTimeoutError

from podsquad.errors import RETRY, InputMissingError, PodsquadError, TemporaryError, all_errors
from podsquad.stages.run import stage_ingredients
from tasks.records import StageRecords
from tasks.stage_task import can_heal, configured, refreshed
from tasks.train import train
from tests.stages.fakes import FakeStages

NO_RUN: Any = TaskRun.model_construct()


def test_the_settings_say_how_a_task_is_retried_and_kept(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings(retry__retries=3, retry__delay_seconds=10, retry__stage_timeout_seconds=60)
    task = configured(train, settings, frozenset())
    assert task.retries == 3
    assert task.retry_delay_seconds == [10, 20, 40]
    assert task.retry_jitter_factor > 0
    assert task.timeout_seconds == 60
    assert task.result_storage == StageRecords(basepath=str(settings.store.path / ".prefect"))
    assert not task.refresh_cache
    assert task.cache_policy == train.cache_policy
    assert task.retry_condition_fn is can_heal


def test_no_retries_need_no_delays(fake_stages: FakeStages) -> None:
    assert configured(train, fake_stages.settings(retry__retries=0), frozenset()).retries == 0


def test_a_refresh_passes_the_cache_of_its_stage_alone(fake_stages: FakeStages) -> None:
    assert configured(train, fake_stages.settings(), frozenset({"train"})).refresh_cache
    assert not configured(train, fake_stages.settings(), frozenset({"publish"})).refresh_cache


def test_what_keeps_a_key_from_being_made_is_left_to_the_stage_to_tell(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings(data__source="files", data__train_file="/no/t", data__validation_file="/no/v")
    with pytest.raises(InputMissingError):
        stage_ingredients("download", settings, {})
    assert not refreshed("download", settings, ())


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_an_error_says_itself_whether_it_heals(kind: type[PodsquadError]) -> None:
    assert can_heal(train, NO_RUN, Failed(data=kind("what"))) == (kind.remedy == RETRY)


@pytest.mark.parametrize(
    ("error", "heals"),
    [(TaskRunTimeoutError("too long"), True), (ValueError("a bug"), False), (OSError("disk"), False)],
    ids=lambda value: type(value).__name__,
)
def test_of_other_errors_only_too_long_an_attempt_heals(error: Exception, heals: bool) -> None:
    assert can_heal(train, NO_RUN, Failed(data=error)) == heals


def test_a_further_attempt_is_told_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    can_heal(train, NO_RUN, Failed(data=ValueError("a bug")))
    assert caplog.messages == []
    can_heal(train, NO_RUN, Failed(data=TemporaryError("the network is away", why="storm")))
    can_heal(train, NO_RUN, Failed(data=TaskRunTimeoutError("too long")))
    assert caplog.messages == [
        "train is tried again: the network is away",
        "train is tried again: the attempt took too long",
    ]
