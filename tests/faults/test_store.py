"""A store that is full, cannot be written, or goes away: named, nothing half-made, and whole when it is mended."""

from __future__ import annotations

import pytest

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.errors import DiskFullError, StoreError
from tests.faults.disks import read_only, small_disk
from tests.faults.place import CHILD_STAGES, Place, remove

HERE = [stage for stage in STAGE_NAMES if stage not in CHILD_STAGES]  # test_runtime.py has those of a child process


@pytest.mark.parametrize("stage", HERE)
def test_a_full_disk_is_named_and_with_room_the_stage_is_whole(stage: StageName, place: Place) -> None:
    largest = max(path.stat().st_size for path in place.chain.files(stage))
    with small_disk(place.store, 1 + place.chain.num_pages(stage) // 2, largest) as make_room:
        error = place.fails(stage, DiskFullError, "no space left for .*")
        assert "free some space" in error.do
        make_room()
        place.ends_whole(stage)


def test_a_full_target_is_named_and_with_room_the_version_is_whole(place: Place) -> None:
    target = place.folder / "published"
    with small_disk(target, 6, 40_000) as make_room:
        error = place.fails("publish", DiskFullError, "while publishing demo-reader")
        assert "publish.folder=FOLDER" in error.do
        assert not list(target.rglob("*.safetensors"))
        assert not (target / "demo-reader/current").is_symlink()
        make_room()
        place.ends_whole("publish")
        assert (target / "demo-reader/current/model.safetensors").is_file()


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_read_only_store_is_named_and_once_it_is_writable_the_stage_is_whole(stage: StageName, place: Place) -> None:
    place.store.mkdir()
    with read_only(place.store):
        error = place.fails(stage, StoreError, f"while building the stage {stage}")
    assert "read-only" in error.why or "may not write" in error.why
    assert list(place.store.iterdir()) == []
    place.ends_whole(stage)


@pytest.mark.parametrize("stage", HERE)
def test_a_store_that_is_removed_meanwhile_is_named_and_made_anew(stage: StageName, place: Place) -> None:
    error = place.fails(stage, StoreError, "cannot use", act=remove(place.store))
    assert "removed meanwhile" in error.why
    place.ends_whole(stage)
