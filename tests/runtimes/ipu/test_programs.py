"""Programs as files: copied to work on, linked to hand on, and taken from an earlier executable when they are whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from podsquad.errors import DataError
from podsquad.runtimes.ipu.programs import copy_programs, hand_on_programs, take_over_earlier
from podsquad.store.contents import digest_file, list_files

VERSIONS = {"torch": "2.0.1"}


def executable(folder: Path, key: str = "k", content: str = "program", torch: str = "2.0.1") -> Path:
    (folder / "programs" / key).mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"versions": {"torch": torch}}))
    for name in ("1.popef", "2.popef"):
        (folder / "programs" / key / name).write_text(content + name)
    files = {name: digest_file(folder / name)._asdict() for name in list_files(folder)}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    return folder


def test_a_process_works_on_a_copy(tmp_path: Path) -> None:
    artifact, work = executable(tmp_path / "a"), tmp_path / "work"
    work.mkdir()
    copy = copy_programs(artifact, "k", work)
    (copy / "1.popef").write_text("overwritten")
    assert (artifact / "programs/k/1.popef").read_text() == "program1.popef"
    assert (copy_programs(artifact, "k", work) / "1.popef").read_text() == "program1.popef"
    with pytest.raises(DataError, match="holds no programs of the graph other") as caught:
        copy_programs(artifact, "other", work)
    assert "--refresh compile" in caught.value.do


@pytest.mark.parametrize("can_link", [True, False])
def test_programs_are_handed_on_as_links_where_there_are_links(
    tmp_path: Path, can_link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(1, "Operation not permitted", target)

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    artifact, model = executable(tmp_path / "a"), tmp_path / "model"
    hand_on_programs(artifact, "k", model)
    ours, theirs = artifact / "programs/k/1.popef", model / "programs/k/1.popef"
    assert theirs.read_text() == ours.read_text()
    assert theirs.samefile(ours) == can_link


def test_an_earlier_executable_of_the_same_graph_is_found(tmp_path: Path) -> None:
    executable(tmp_path / "store/a", key="other")
    executable(tmp_path / "store/b")
    target = tmp_path / "target"
    target.mkdir()
    assert take_over_earlier(tmp_path / "store", "k", VERSIONS, target) == "b"
    assert sorted(path.name for path in target.iterdir()) == ["1.popef", "2.popef"]


def test_one_that_the_same_libraries_made_is_preferred(tmp_path: Path) -> None:
    executable(tmp_path / "store/a", torch="1.13.1")
    executable(tmp_path / "store/b")
    executable(tmp_path / "store/c")
    (tmp_path / "store/b/plan.json").write_text("torn")
    for versions, name in ((VERSIONS, "c"), ({"torch": "9"}, "a")):
        target = tmp_path / f"target of {name}"
        target.mkdir()
        assert take_over_earlier(tmp_path / "store", "k", versions, target) == name


@pytest.mark.parametrize("harm", ["torn", "gone", "no manifest", "bad manifest"])
def test_what_is_not_whole_is_left_alone(tmp_path: Path, harm: str) -> None:
    artifact = executable(tmp_path / "store/a")
    if harm == "torn":
        (artifact / "programs/k/1.popef").write_text("torn")
    elif harm == "gone":
        (artifact / "programs/k/1.popef").unlink()
    elif harm == "no manifest":
        (artifact / "manifest.json").unlink()
    else:
        (artifact / "manifest.json").write_text('{"files": []}')
    target = tmp_path / "target"
    target.mkdir()
    assert take_over_earlier(tmp_path / "store", "k", VERSIONS, target) == ""
    assert list(target.iterdir()) == []
