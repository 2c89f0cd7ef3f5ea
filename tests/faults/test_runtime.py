"""A runtime's process that meets a fault: named, and what it has done until then is gone on from, to the same bytes."""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file, save_file

from podsquad.config.section import StageName
from podsquad.errors import DiskFullError, DivergedError, InternalError, StoreError, TemporaryError
from tests.faults import runtimes
from tests.faults.disks import small_disk
from tests.faults.place import CHILD_STAGES, Place, remove


@pytest.mark.parametrize("stage", CHILD_STAGES)
def test_one_fault_after_another_ends_in_the_bytes_of_an_undisturbed_run(stage: StageName, place: Place) -> None:
    """Each of them begins where the one before left off; starting a genuine runtime is what takes time here."""
    scratch = place.folder / "scratch"

    def fails_with(does: str, kind: type, what: str, **changes: float) -> str:
        python = runtimes.interpreter(scratch, does)
        return str(place.fails(stage, kind, what, runtime__python=str(python), **changes))

    assert "last checkpoint" in fails_with(
        runtimes.HANG, TemporaryError, r"sent no sign of life for 0\.5 seconds", runtime__hang_seconds=0.5
    )
    assert "out-of-memory" in fails_with(runtimes.KILLED, TemporaryError, "was killed by SIGKILL")
    assert "stderr.log" in fails_with(runtimes.GARBAGE, InternalError, "wrote something that is no event")
    fails_with(runtimes.GARBAGE_AND_EXIT, InternalError, "wrote something that is no event")

    gone = place.fails(stage, StoreError, "cannot use", act=remove(place.store))
    assert "removed meanwhile" in gone.why

    largest = max(path.stat().st_size for path in place.chain.files(stage))
    with small_disk(place.store, 2 + place.chain.num_pages(stage) // 2, largest) as make_room:
        full = place.fails(stage, DiskFullError, "no space left for .*")
        assert "free some space" in full.do
        make_room()
        place.ends_whole(stage)


def test_a_loss_that_is_no_number_stops_the_training_without_a_checkpoint(place: Place) -> None:
    base = place.folder / "base"
    model = place.chain.artifact("train").path / "model"
    base.mkdir()
    for path in model.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    weights = load_file(base / "model.safetensors")
    save_file({name: array * 1e30 for name, array in weights.items()}, base / "model.safetensors", {"format": "pt"})
    # The plan is of the same graph, whatever its weights.
    error = place.fails("train", DivergedError, r"the loss of step 1 of \d is (nan|inf)", model__base=str(base))
    assert "learning_rate" in error.do
    assert not list(place.store.glob("train/.work/*/checkpoints/step-*"))
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert not place.run("train", model__base=str(base)).is_reused
    place.check_secrets()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_runtime_that_tells_its_environment_tells_no_token(stream: str, place: Place) -> None:
    does = "env | grep HF_TOKEN" + (" >&2; exit 3" if stream == "stderr" else "; exec sleep 600")
    python = runtimes.interpreter(place.folder / "scratch", does)
    with pytest.raises(InternalError) as caught:
        place.run("compile", runtime__python=str(python))
    assert "HF_TOKEN=***" in str(caught.value)
    place.check_secrets(caught.value)
    if stream == "stderr":
        (kept,) = place.store.glob("compile/.work/*/compile.stderr.log")
        assert kept.read_text() == "HF_TOKEN=***\n"
