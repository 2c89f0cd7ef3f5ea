"""A checkpoint is complete or absent, and a damaged one is never used."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podsquad.runtimes import checkpoints as module
from podsquad.runtimes.checkpoints import Checkpoint, Checkpoints


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, message: str, level: str) -> None:
        self.lines.append((level, message))


def arrays(value: float) -> dict[str, dict[str, np.ndarray]]:
    weights = {"a": np.full((2, 3), value, np.float32), "b": np.arange(4, dtype=np.int64)}
    return {"model": weights, "optimizer": {"a/step": np.array(value, np.float32)}}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def kept(tmp_path: Path, log: Log) -> Checkpoints:
    made = Checkpoints(tmp_path / "checkpoints", "this training", log)
    for step in (100, 200):
        made.save(step, arrays(step), {"history": [step]})
    return made


def newest(checkpoints: Checkpoints) -> Checkpoint:
    found = checkpoints.newest()
    assert found is not None
    return found


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_none_is_found_where_none_is(tmp_path: Path, log: Log) -> None:
    assert Checkpoints(tmp_path / "new", "x", log).newest() is None
    assert log.lines == []


def test_the_newest_comes_back_as_it_was(kept: Checkpoints) -> None:
    found = newest(kept)
    assert found.step == 200
    assert found.state == {"history": [200]}
    for group, named in arrays(200).items():
        for name, array in named.items():
            assert found.arrays[group][name].dtype == array.dtype
            assert found.arrays[group][name].shape == array.shape
            assert np.array_equal(found.arrays[group][name], array)


def test_two_are_kept(kept: Checkpoints, tmp_path: Path) -> None:
    kept.save(300, arrays(300), {})
    assert names(tmp_path) == ["step-00000200", "step-00000300"]


def test_saving_a_step_again_replaces_it(kept: Checkpoints, tmp_path: Path) -> None:
    kept.save(200, arrays(7), {"again": True})
    assert newest(kept).state == {"again": True}
    assert names(tmp_path) == ["step-00000100", "step-00000200"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def write_list(path: Path) -> None:
    path.write_text("[]")


def nest(path: Path) -> None:
    path.write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", cut),
        ("optimizer.safetensors", flip),
        ("state.json", Path.unlink),
        ("manifest.json", Path.unlink),
        ("manifest.json", cut),
        ("manifest.json", write_list),
        ("manifest.json", nest),
        ("state.json", nest),
    ],
)
def test_a_damaged_one_is_set_aside_and_the_one_before_used(
    kept: Checkpoints, tmp_path: Path, log: Log, name: str, damage: Callable[[Path], None]
) -> None:
    damage(tmp_path / "checkpoints" / "step-00000200" / name)
    assert newest(kept).step == 100
    assert names(tmp_path) == ["step-00000100", "step-00000200.damaged"]
    assert [level for level, _ in log.lines] == ["warning"]
    assert "step-00000200 is damaged" in log.lines[0][1]


def test_a_renamed_one_is_damaged(kept: Checkpoints, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "step-00000200").rename(folder / "step-00000900")
    assert newest(kept).step == 100


def test_other_trainings_are_left_alone_until_a_save(kept: Checkpoints, tmp_path: Path, log: Log) -> None:
    other = Checkpoints(tmp_path / "checkpoints", "another", log)
    assert other.newest() is None
    assert len(log.lines) == 2
    assert all(level == "info" and "other settings" in line for level, line in log.lines)
    other.save(50, arrays(50), {})
    assert names(tmp_path) == ["step-00000050"]


@pytest.mark.parametrize("broken", ["write_json", "move_folder", "_save_arrays"])
def test_a_failed_write_leaves_the_earlier_ones(
    kept: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, broken, refuse)
    with pytest.raises(OSError, match="No space left"):
        kept.save(300, arrays(300), {})
    assert newest(kept).step == 200
    assert names(tmp_path) == ["step-00000100", "step-00000200"]


def test_what_a_killed_writer_left_is_cleared_away(kept: Checkpoints, tmp_path: Path, log: Log) -> None:
    left = tmp_path / "checkpoints" / ".tmp-half-made"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert newest(Checkpoints(tmp_path / "checkpoints", "this training", log)).step == 200
    assert not left.exists()


def test_the_manifest_is_the_last_file_to_appear(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[str] = []
    write = module.write_json

    def watched(path: Path, value: Any) -> None:
        if path.name == "manifest.json":
            before.extend(entry.name for entry in path.parent.iterdir())
        write(path, value)

    monkeypatch.setattr(module, "write_json", watched)
    folder = kept.save(300, arrays(300), {})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == set(before) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_a_full_disk_told_in_words_becomes_an_os_error(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise module.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", refuse)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is looked at below
        Checkpoints(tmp_path / "new", "x", log).save(1, arrays(1), {})
    assert caught.value.errno == errno.ENOSPC
