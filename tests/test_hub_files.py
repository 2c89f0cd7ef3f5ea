"""A fetch from a slow Hub gives signs of life, and one from a dead Hub none: who waits for it can tell them apart."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from podsquad import hub_files
from podsquad.drill.hub_server import REVISION, Fault, HubServer
from podsquad.errors import TemporaryError
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from tests.runtimes.programs import make_interpreter

NAME = "ada/lovelace"
HANG_SECONDS = 10.0  # a child that only asks the Hub begins within them, however busy the machine is
# A runtime whose training is over when the base model is there. The client writes 10 MB at a time to the disk.
FETCHING = """
import sys
from huggingface_hub import constants
from podsquad import hub_files
from podsquad.runtimes.base_errors import explain_load_error
from podsquad.runtimes.base_model import fetch_base, locate_base
from podsquad.runtimes.job import runtime_main
constants.DOWNLOAD_CHUNK_SIZE, hub_files.LOOK_SECONDS = 1000, 0.2
def train(job, events, stop):
    events.log("ready")
    where, options = locate_base(job.settings["model"])
    try:
        fetch_base(where, options, events.log)
    except Exception as error:
        raise explain_load_error(error, where, options["revision"]) from None
    events.log("fetched")
sys.exit(runtime_main({"train": train}, sys.argv[1:]))
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub with a base model of 200 KB, and this process's children led to it."""
    content = tmp_path / "content"
    content.mkdir()
    (content / "config.json").write_text("{}", encoding="utf-8")
    (content / "model.safetensors").write_bytes(os.urandom(200_000))
    with HubServer({NAME: content}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


def fetch(folder: Path) -> list[str]:
    """Let a runtime fetch the base model and return the lines of its events."""
    lines: list[str] = []

    def keep(event: Mapping[str, Any]) -> None:
        lines.append(str(event["message"]))

    work = folder / "work"
    work.mkdir()
    job = Job("train", {}, str(work), str(work), {"model": {"base": NAME, "revision": REVISION}})
    python = make_interpreter(folder, FETCHING)
    try:
        run_job(job, "torch", python=python, hang_seconds=HANG_SECONDS, stop_grace_seconds=0.1, on_event=keep)
    finally:
        assert lines[:2] == ["ready", f"asking the Hub what {NAME} holds"]
        assert f"asking the Hub for model.safetensors of {NAME}" in lines
    return lines


def test_a_base_model_that_takes_longer_than_a_hang_comes_whole(hub: HubServer, tmp_path: Path) -> None:
    hub.fail(Fault("slow", path="safetensors", seconds=1.6 * HANG_SECONDS))
    lines = fetch(tmp_path)
    assert lines[-1] == "fetched"
    told = [line for line in lines if line.startswith(f"fetching model.safetensors of {NAME}: ")]
    sizes = [float(re.findall(r"([0-9.]+) MB came so far", line)[0]) for line in told]
    assert len(sizes) > 5
    assert sizes == sorted(sizes)
    assert sizes[-1] <= 0.2
    blobs = tmp_path / "hub/hub/models--ada--lovelace/blobs"
    assert sorted(path.stat().st_size for path in blobs.iterdir()) == [2, 200_000]


def test_a_base_model_that_comes_no_further_is_a_hang(hub: HubServer, tmp_path: Path) -> None:
    hub.fail(Fault("slow", path="safetensors", seconds=100_000.0))
    with pytest.raises(TemporaryError, match="sent no sign of life for 10 seconds"):
        fetch(tmp_path)


def test_only_bytes_that_came_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [0, 0, 1_000_000, 1_000_000, 500_000, 500_000, 3_000_000]  # 500,000: an attempt that failed is begun anew
    over = threading.Event()

    def bytes_in(folder: Path) -> int:
        if not looks:
            over.set()
        return looks.pop(0) if looks else 3_000_000

    monkeypatch.setattr(hub_files, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(hub_files, "_bytes_in", bytes_in)
    lines: list[str] = []
    with hub_files._growth_told(tmp_path, "fetching", lambda line, level: lines.append(line)):
        assert over.wait(60)
    assert lines == ["fetching: 1.0 MB came so far", "fetching: 3.0 MB came so far"]
