"""A reference is JSON, small, and only as good as the artifact that it names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prefect.serializers import JSONSerializer
from pydantic import ValidationError

from podsquad.errors import TemporaryError
from podsquad.stages.run import StageOutcome
from tasks.reference import ArtifactReference
from tests.stages.fakes import FakeStages


@pytest.fixture
def outcomes(fake_stages: FakeStages) -> dict[str, StageOutcome]:
    return dict(fake_stages.run_all(fake_stages.settings()))


@pytest.fixture
def reference(fake_stages: FakeStages, outcomes: dict[str, StageOutcome]) -> ArtifactReference:
    return ArtifactReference.of(outcomes["train"], fake_stages.root / "store")


def test_it_says_what_came_of_the_stage(reference: ArtifactReference, outcomes: dict[str, StageOutcome]) -> None:
    outcome = outcomes["train"]
    assert (reference.stage, reference.key, reference.digest) == (
        "train",
        outcome.artifact.key,
        outcome.artifact.digest,
    )
    assert (reference.is_reused, reference.reason) == (False, "nothing made yet")
    assert reference.artifact() == outcome.artifact


def test_it_comes_back_from_prefect_s_json(reference: ArtifactReference) -> None:
    serializer = JSONSerializer()
    record = serializer.dumps(reference)
    assert len(record) < 1000
    assert serializer.loads(record) == reference


@pytest.mark.parametrize("damage", ["gone", "a file deleted", "a bit flipped", "another"])
def test_it_cannot_be_loaded_when_its_artifact_is_not_as_it_was(reference: ArtifactReference, damage: str) -> None:
    record = JSONSerializer().dumps(reference)
    path = reference.artifact().path
    if damage == "gone":
        shutil.rmtree(path)
    elif damage == "a file deleted":
        (path / "file").unlink()
    elif damage == "a bit flipped":
        (path / "file").write_bytes(b"x" + (path / "file").read_bytes()[1:])
    else:
        record = record.replace(reference.digest.encode(), b"0" * 64)
    with pytest.raises((TemporaryError, ValidationError)):
        JSONSerializer().loads(record)


def test_it_cannot_be_loaded_when_its_publication_is_stale(
    fake_stages: FakeStages, outcomes: dict[str, StageOutcome]
) -> None:
    record = JSONSerializer().dumps(ArtifactReference.of(outcomes["publish"], fake_stages.root / "store"))
    assert JSONSerializer().loads(record).stage == "publish"
    fake_stages.stale = "the pointer has moved"
    with pytest.raises(TemporaryError, match="the pointer has moved"):
        JSONSerializer().loads(record)


def test_a_relative_store_is_found_from_anywhere(
    fake_stages: FakeStages, outcomes: dict[str, StageOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fake_stages.root)
    reference = ArtifactReference.of(outcomes["train"], Path("store"))
    monkeypatch.chdir("/")
    assert reference.artifact() == outcomes["train"].artifact
