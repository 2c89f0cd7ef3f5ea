"""The cache key of a task: the domain's key, and the place of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings
from podsquad.stages.catalog import STAGES
from tasks.caching import StageKey
from tasks.compile import compile_program
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.publish import publish
from tasks.reference import ArtifactReference
from tasks.tokenize import tokenize
from tasks.train import train
from tests.stages.fakes import FakeStages

NO_CONTEXT: Any = None  # the policy looks at the arguments alone


def keys(fakes: FakeStages, settings: Settings) -> dict[str, str]:
    """The key of every stage's task after a run with these settings."""
    store = settings.store.path
    references = {name: ArtifactReference.of(outcome, store) for name, outcome in fakes.run_all(settings).items()}
    found = {}
    for name, stage in STAGES.items():
        inputs: dict[str, Any] = {f"input_{each}": references[each] for each in stage.inputs}
        inputs |= {"settings": settings, "refresh": frozenset()}
        found[name] = StageKey(stage=name).compute_key(NO_CONTEXT, inputs, {})
        assert found[name].startswith(f"{name}-{references[name].key}-")
    return found


def test_the_key_follows_the_domain_s(fake_stages: FakeStages) -> None:
    usual = keys(fake_stages, fake_stages.settings())
    assert keys(fake_stages, fake_stages.settings()) == usual
    assert keys(fake_stages, fake_stages.settings(retry__retries=7, runtime__threads=1)) == usual
    other = keys(fake_stages, fake_stages.settings(training__learning_rate=0.5))
    assert [name for name in usual if usual[name] != other[name]] == ["train", "evaluate", "publish"]


def test_another_store_has_other_keys(fake_stages: FakeStages, tmp_path: Path) -> None:
    usual = keys(fake_stages, fake_stages.settings())
    other = keys(fake_stages, fake_stages.settings(store__path=str(tmp_path / "other")))
    assert all(usual[name] != other[name] for name in STAGE_NAMES)


def test_every_task_has_the_policy_of_its_stage() -> None:
    tasks = (download, tokenize, compile_program, train, evaluate, publish)
    assert [task.name for task in tasks] == list(STAGE_NAMES)
    for task in tasks:
        assert task.cache_policy == StageKey(stage=task.name)
        assert task.cache_policy.key_storage is None  # one record: a result that fails its check counts as none
        assert task.persist_result
        assert task.result_serializer == "json"
