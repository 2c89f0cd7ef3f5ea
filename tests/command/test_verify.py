"""``podsquad verify`` as a program: what it prints, and its exit codes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from podsquad.cli import main
from tests.faults.disks import read_only
from tests.publishing.conftest import hub_client, place
from tests.publishing.hub_place import TOKEN, Place
from tests.publishing.receipts import make_artifacts
from tests.publishing.test_verify import flip, publish, put_on_hub

__all__ = ["hub_client", "place"]  # fixtures
HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return publish(make_artifacts(tmp_path), tmp_path / "published")


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["verify", *map(str, arguments)])
    return int(end.value.code or 0)


def test_a_whole_version(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(version, "--store", tmp_path / "store") == 0
    out, err = capsys.readouterr()
    assert (
        "as its receipt says (9 published files, 10 claims of the receipt, 21 files of the store; 2 not checked)" in out
    )
    assert f"version {version.name.removeprefix('v-')}" in out
    assert "hardware" not in out
    assert call(version) == 0
    assert "--store STORE" in capsys.readouterr().out
    assert err == ""


def test_a_changed_file_is_named_and_the_exit_code_says_no(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(version / "model.safetensors", 3)
    assert call(version) == 1
    out = capsys.readouterr().out
    assert "model.safetensors" in out
    assert "1 NOT as its receipt says" in out
    assert call(version, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["is_whole"] is False
    assert [each["name"] for each in told["findings"] if each["state"] == "changed"] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("nowhere/to/be/found",), 66, "neither a folder nor a repository"),
        ((".", "--store", "nowhere"), 66, "there is no store at nowhere"),
        ((".",), 66, "holds nothing that podsquad published"),
        ((), 64, "Missing argument"),
    ],
)
def test_what_cannot_be_looked_at_is_told_in_words(
    arguments: tuple[str, ...],
    exit_code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == exit_code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_no_place_for_temporary_files_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where TMPDIR leads
    with read_only(tmp_path):
        assert call(tmp_path) == 73
    err = capsys.readouterr().err
    assert err.startswith(f"error: cannot use {tmp_path}/podsquad-verify-")
    assert "TMPDIR=FOLDER" in err
    assert "Traceback" not in err

    def no_space(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr(tempfile, "mkdtemp", no_space)
    assert call(tmp_path) == 74
    err = capsys.readouterr().err
    assert err.startswith(f"error: no space left for {tmp_path} while ")
    assert "Traceback" not in err


def test_a_private_repository_is_verified_over_http(place: Place, tmp_path: Path) -> None:
    """A process of its own, with the address and the token in its environment, as a user has them."""
    tag = put_on_hub(place, make_artifacts(tmp_path), "lab/secret", private=True)
    environ = {**os.environ, "HF_ENDPOINT": place.server.endpoint, "PYTHONPATH": str(HOME)}

    def ask(token: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "podsquad", "verify", f"lab/secret@{tag}"]
        given = {**environ, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "home")}
        return subprocess.run(
            command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=300, check=False
        )

    done = ask(TOKEN)
    assert done.returncode == 0, done.stderr
    assert f"lab/secret@{tag}: as its receipt says" in done.stdout
    stranger = "hf_AStrangersTokenThatMayNotSeeIt0000"
    refused = ask(stranger)
    assert refused.returncode in (64, 66)
    assert "HF_TOKEN" in refused.stderr
    for said in (refused.stderr, refused.stdout, done.stdout, done.stderr):
        assert stranger not in said
        assert TOKEN not in said
        assert "Traceback" not in said
