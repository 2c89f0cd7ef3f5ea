"""Trainings of several processes, genuine ones: equal to one process, and none is left when one is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from podsquad.errors import SettingsError
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.siblings import _last_words
from podsquad.runtimes.torch.train import train_job
from tests.runtimes.torch.made_up import Recorder, files_of, make_features, make_job, make_settings, start_runtime

# Three micro-batches a step and rank, a last step of two features, which is less than ranks in the test of three.
SIZES = {"training__epochs": 3, "training__batch_size": 20, "training__micro_batch_tokens": 100}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_features(tmp_path_factory.mktemp("made") / "features", num_train=62)


def prepare(root: Path, features: Path, processes: int, **changes: Any) -> dict[str, Any]:
    settings = make_settings(runtime__processes=processes, **{**SIZES, **changes})
    compile_job(make_job(root, "compile", settings, features=features), Recorder(), StopRequest())  # type: ignore[arg-type]
    return settings


def start(root: Path, features: Path, settings: dict[str, Any]) -> subprocess.Popen[str]:
    output = root / "train"
    if output.exists():
        output.rmdir()  # a failed attempt leaves nothing in it
    return start_runtime(
        make_job(root, "train", settings, features=features, executable=root / "compile"), root / "job"
    )


def finish(child: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    assert child.stdout is not None
    assert child.stderr is not None
    events = [json.loads(line) for line in child.stdout]
    complaints = child.stderr.read()
    return child.wait(), events, complaints


def siblings_of(child: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{child.pid}/task").glob("*/children")
    return [int(pid) for path in children for pid in path.read_text().split()]


def assert_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"one of {pids} is left"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_progress(child: subprocess.Popen[str], step: int = 1) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["step"] >= step:
            return
    raise AssertionError("it ended before")


def test_two_processes_train_as_one(tmp_path: Path, features: Path) -> None:
    found = []
    for count in (1, 2):
        root = tmp_path / str(count)
        settings = prepare(root, features, count, model__dropout=0.0)
        with start(root, features, settings) as child:
            code, events, complaints = finish(child)
        assert (code, complaints) == (0, ""), events
        assert [event["step"] for event in events if event["event"] == "progress"][-1] == 12
        history = [json.loads(line) for line in (root / "train" / "history.jsonl").read_text().splitlines()]
        weights = load_file(root / "train" / "model" / "model.safetensors")
        made = json.loads((root / "train" / "training.json").read_text())
        found.append((history, weights, made))
    (alone, weights_alone, made_alone), (together, weights, made) = found
    assert (made_alone["processes"], made["processes"]) == (1, 2)
    assert made["ledger"] == made_alone["ledger"]
    assert [entry["loss"] for entry in together] == pytest.approx([entry["loss"] for entry in alone], rel=1e-6)
    # But where the true gradient is 0 (softmax does not see a shift): Adam makes whole steps of what rounding leaves.
    shifts = ("key.bias", "qa_outputs.bias", "layer.1.output.LayerNorm.bias")  # the last layer's moves all logits alike
    told = [name for name in weights if not name.endswith(shifts)]
    assert all(abs(weights[name] - weights_alone[name]).max() < 1e-4 for name in told)


def test_stopped_and_killed_and_resumed_ends_in_the_same_bytes(tmp_path: Path, features: Path) -> None:
    processes = 3  # the sum of two numbers does not depend on their order, that of three does
    changes = {"training__checkpoint_interval_steps": 7, "training__epochs": 30}
    whole = prepare(tmp_path / "whole", features, processes, **changes)
    with start(tmp_path / "whole", features, whole) as child:
        assert finish(child)[0] == 0

    root = tmp_path / "hurt"
    settings = prepare(root, features, processes, **changes)
    with start(root, features, settings) as child:
        wait_for_progress(child)
        others = siblings_of(child)
        assert len(others) == processes - 1
        child.send_signal(signal.SIGTERM)
        code, events, complaints = finish(child)
    assert (code, complaints) == (75, "")
    saved = [event["step"] for event in events if event["event"] == "checkpoint"][-1]
    assert f"SIGTERM received; step {saved} of 120 is saved" in events[-1]["what"]
    assert_gone(others)

    with start(root, features, settings) as child:
        wait_for_progress(child, saved + 2)
        others = siblings_of(child)
        os.kill(others[-1], signal.SIGKILL)
        code, events, _ = finish(child)
    assert code == 75
    failures = [event for event in events if event["event"] == "failure"]
    assert failures[0]["error"] == "TemporaryError"
    assert f"rank {processes - 1} of the training ended with signal 9" in failures[0]["what"]
    assert_gone(others)

    with start(root, features, settings) as child:
        code, events, _ = finish(child)
    assert code == 0
    assert any("going on from the checkpoint of step" in event.get("message", "") for event in events)
    assert files_of(root / "train") == files_of(tmp_path / "whole" / "train")


def test_no_rank_outlives_the_first(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 3, training__epochs=1000)
    with start(tmp_path, features, settings) as child:
        wait_for_progress(child)
        others = siblings_of(child)
        child.kill()
        finish(child)
    assert len(others) == 2
    assert_gone(others)


def test_all_ranks_end_when_the_parent_is_gone(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 2, training__epochs=1000)
    with start(tmp_path, features, settings) as child:
        wait_for_progress(child)
        others = siblings_of(child)
        assert child.stdin is not None
        child.stdin.close()
        code, events, _ = finish(child)
    assert code == 75
    assert "the process that started this one is gone" in events[-1]["what"]
    assert_gone(others)


def test_a_stop_that_reaches_one_rank_reaches_all(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 2, training__epochs=1000)
    with start(tmp_path, features, settings) as child:
        wait_for_progress(child)
        (other,) = siblings_of(child)
        os.kill(other, signal.SIGTERM)
        code, events, complaints = finish(child)
    assert (code, complaints) == (75, "")
    assert "another rank was asked to stop" in events[-1]["what"]
    assert [event["event"] for event in events][-2:] == ["checkpoint", "failure"]
    assert_gone([other])


def test_what_all_ranks_refuse_is_told_once_by_the_first(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 2, training__learning_rate=1.0, training__warmup_share=0.0)
    settings["training"]["learning_rate"] = 1e38
    with start(tmp_path, features, settings) as child:
        code, events, _ = finish(child)
    failures = [event["error"] for event in events if event["event"] == "failure"]
    assert code == 70
    assert failures == ["DivergedError"]


def test_more_processes_than_before_need_another_plan(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 1)
    settings["runtime"]["processes"] = 2
    with start(tmp_path, features, settings) as child:
        code, events, _ = finish(child)
    assert code == 65
    assert "processes differ" in events[-1]["what"]


def test_the_last_words_of_a_rank_are_its_error() -> None:
    told = json.dumps({"event": "failure", "error": "SettingsError", "what": "w", "why": "y", "do": "d"}).encode()
    error = _last_words(told + b"\n")
    assert type(error) is SettingsError
    assert (error.what, error.why, error.do) == ("w", "y", "d")
    assert _last_words(b'{"event": "fail') is None
    assert _last_words(b"") is None


def test_one_process_starts_no_other(tmp_path: Path, features: Path) -> None:
    settings = prepare(tmp_path, features, 1, training__epochs=1)
    job = make_job(tmp_path, "train", settings, features=features, executable=tmp_path / "compile")
    train_job(job, Recorder(), StopRequest())  # type: ignore[arg-type]
    assert not (tmp_path / "train-work" / "ranks.job.json").exists()
