"""``podsquad gc``: what is told, what goes, and that what is published stays."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from podsquad.cli import main
from podsquad.command import gc
from podsquad.command.gc import collect
from podsquad.config.settings import Settings
from podsquad.publishing.target import Publication, TargetKind, TargetState
from podsquad.store.builds import REFRESH_MARK, WORK, unfinished_refresh
from podsquad.store.lease import leased
from tests.stages.fakes import FakeStages

YEAR = 366 * 86_400


@pytest.fixture
def settings(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A store with one old run, a year old, and one new one, both published to a folder."""
    publish_to(monkeypatch, "folder", exists=True)
    made = fake_stages.settings()
    old = fake_stages.run_all(made)
    for outcome in old.values():
        os.utime(outcome.artifact.path / "manifest.json", (time.time() - YEAR,) * 2)
    fake_stages.run_all(fake_stages.settings(data__demo_seed=5))
    return made


def publish_to(monkeypatch: pytest.MonkeyPatch, kind: TargetKind, *, exists: bool) -> None:
    """Let the stand-ins' publications tell of a place of that kind, which is there to be seen or not."""
    state = TargetState(exists, None, {}, (), "")
    monkeypatch.setattr(gc, "read_publication", lambda artifact: Publication(kind, "a/b", "k", "v-k", "url", "url"))
    monkeypatch.setattr(gc, "target_at", lambda publication: nullcontext(SimpleNamespace(state=lambda: state)))


@pytest.mark.parametrize(("kind", "exists", "num_removed"), [("folder", False, 6), ("hub", True, 6), ("hub", False, 0)])
def test_a_repository_that_is_not_seen_may_be_hidden_from_the_token(
    kind: TargetKind,
    exists: bool,
    num_removed: int,
    settings: Settings,
    fake_stages: FakeStages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_stages.stale = "the repository is not there"
    publish_to(monkeypatch, kind, exists=exists)
    run(settings)
    assert len(json.loads(capsys.readouterr().out)["removed"]) == num_removed


def stages_with_two(settings: Settings) -> list[str]:
    return sorted(
        home.name for home in settings.store.path.iterdir() if len([p for p in home.iterdir() if p.name[0] != "."]) == 2
    )


def run(settings: Settings, *, dry_run: bool = False, keep: int = 1) -> None:
    collect(settings, keep=keep, days=30, dry_run=dry_run, as_json=True)


def test_an_old_run_goes(settings: Settings, fake_stages: FakeStages, capsys: pytest.CaptureFixture[str]) -> None:
    fake_stages.stale = "another one is published"
    run(settings, dry_run=True)
    assert len(stages_with_two(settings)) == 6
    would = json.loads(capsys.readouterr().out)
    run(settings)
    did = json.loads(capsys.readouterr().out)
    assert stages_with_two(settings) == []
    assert {each["path"] for each in would["removed"]} == {each["path"] for each in did["removed"]}
    assert len(did["removed"]) == 6
    assert did["bytes"] == sum(each["num_bytes"] for each in did["removed"]) > 0


def test_what_is_published_stays_with_all_that_it_was_made_of(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings)  # the stand-in's publications are never stale: both are what the target holds
    assert len(stages_with_two(settings)) == 6
    assert json.loads(capsys.readouterr().out)["removed"] == []


def test_what_is_being_built_is_left_and_told(
    settings: Settings, fake_stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_stages.stale = "another one is published"
    (home,) = [settings.store.path / "train"]
    keys = [path.name for path in home.iterdir() if path.name[0] != "."]
    old = min(keys, key=lambda key: (home / key / "manifest.json").stat().st_mtime)
    with leased(home / ".leases", old, log=print):
        collect(settings, keep=1, days=30, dry_run=False, as_json=False)
    told = capsys.readouterr().out
    assert "removed 5, " in told
    assert "left 1 whose key is being built just now" in told
    assert (home / old).is_dir()


def test_an_artifact_that_was_moved_and_linked_keeps_nothing_from_going(
    settings: Settings, fake_stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_stages.stale = "another one is published"
    artifacts = (settings.store.path / "compile").glob("[!.]*")
    old = min(artifacts, key=lambda path: (path / "manifest.json").stat().st_mtime)
    moved = settings.store.path.with_name("other-disk")
    old.rename(moved)
    old.symlink_to(moved)
    for num in (6, 0):
        collect(settings, keep=1, days=30, dry_run=False, as_json=False)
        told = capsys.readouterr().out
        assert f"removed {num}, " in told
        assert (f"is a link; what it leads to stays: {moved}" in told) == bool(num)
    assert (moved / "manifest.json").is_file()
    assert list(settings.store.path.glob("*/.staging/*")) == []


def test_nothing_to_remove_is_said(fake_stages: FakeStages, capsys: pytest.CaptureFixture[str]) -> None:
    collect(fake_stages.settings(), keep=1, days=30, dry_run=False, as_json=False)
    assert capsys.readouterr().out.startswith("removed 0, 0.0 MiB, of ")


def test_what_a_refresh_left_goes_so_that_the_next_begins_anew(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    home = settings.store.path / "train"
    key = next(path.name for path in home.iterdir() if path.name[0] != ".")
    left = home / WORK / f"{key}.7"
    left.mkdir(parents=True)
    (left / REFRESH_MARK).write_text("none")
    assert unfinished_refresh(home, key) == left
    with pytest.raises(SystemExit) as end:
        main(["gc", "--days", "0", "--json", f"--set=store.path={settings.store.path}"])
    assert not end.value.code
    assert str(left) in [each["path"] for each in json.loads(capsys.readouterr().out)["removed"]]
    assert unfinished_refresh(home, key) is None
