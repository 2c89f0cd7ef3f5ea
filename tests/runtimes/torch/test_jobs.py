"""The three verbs through the genuine process, and the models that come out and go in."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import RobertaForQuestionAnswering

from podsquad.data.arrow import Features
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.drill.hub_server import REVISION, HubServer
from podsquad.runtimes.job import Job, StopRequest
from podsquad.runtimes.torch.compile import compile_job
from podsquad.runtimes.torch.train import train_job
from tests.runtimes.torch.made_up import Recorder, files_of, make_features, make_job, make_settings, start_runtime


def run(job: Job, root: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Run a job to its end; return exit code, events and standard error."""
    with start_runtime(job, root / f"{job.verb}.json") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        events = [json.loads(line) for line in child.stdout]
        complaints = child.stderr.read()
        return child.wait(), events, complaints


def test_all_verbs_end_to_end(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features")
    settings = make_settings()
    inputs = {"compile": {}, "train": {"executable": tmp_path / "compile"}, "predict": {"model": tmp_path / "train"}}
    events: dict[str, list[dict[str, Any]]] = {}
    for verb, others in inputs.items():
        code, events[verb], complaints = run(make_job(tmp_path, verb, settings, features=features, **others), tmp_path)
        assert (code, complaints) == (0, "")

    assert {event["name"] for event in events["compile"] if event["event"] == "decision"} >= {"formulation", "compiled"}
    plan = json.loads((tmp_path / "compile" / "plan.json").read_text())
    assert plan["batches"]["full_steps_per_epoch"] == 5
    assert plan["batches"]["last_batch_features"] == 2
    assert plan["compiled"]["value"] is False
    assert "CPU" in plan["compiled"]["reason"]
    assert (tmp_path / "compile" / "programs").is_dir()

    made = json.loads((tmp_path / "train" / "training.json").read_text())
    assert made["num_parameters"] == plan["num_parameters"]
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer_config.json"} <= set(
        files_of(tmp_path / "train")
    )

    start, end = (np.load(tmp_path / "predict" / f"{name}_logits.npy", allow_pickle=False) for name in ("start", "end"))
    ids = Features(features, "validation").input_ids
    assert start.dtype == end.dtype == np.float32
    assert start.shape == end.shape == ids.flat.shape
    model = RobertaForQuestionAnswering.from_pretrained(tmp_path / "train" / "model").eval()
    with torch.inference_mode():
        for row in range(len(ids)):
            output = model(input_ids=torch.from_numpy(ids[row].astype(np.int64))[None])
            part = slice(ids.offsets[row], ids.offsets[row + 1])
            assert np.allclose(output.start_logits[0], start[part], atol=1e-5)
            assert np.allclose(output.end_logits[0], end[part], atol=1e-5)


def test_sigterm_saves_and_the_next_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features", num_train=60)
    settings = make_settings(training__epochs=12, training__checkpoint_interval_steps=1000)
    compile_job(make_job(tmp_path, "compile", settings, features=features), Recorder(), StopRequest())
    given = {"features": features, "executable": tmp_path / "compile"}
    # In this process: the bytes do not depend on who trains either.
    train_job(make_job(tmp_path / "whole", "train", settings, **given), Recorder(), StopRequest())

    with start_runtime(make_job(tmp_path / "killed", "train", settings, **given), tmp_path / "train.json") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        events = []
        for line in child.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "progress":
                child.send_signal(signal.SIGTERM)
                break
        events += [json.loads(line) for line in child.stdout]
        assert child.wait() == 75
    (saved,) = [event["step"] for event in events if event["event"] == "checkpoint"]
    assert events[-1]["event"] == "failure"
    assert events[-1]["error"] == "StoppedError"
    assert f"step {saved} of 180 is saved" in events[-1]["what"]

    (tmp_path / "killed" / "train").rmdir()
    code, events, _ = run(make_job(tmp_path / "killed", "train", settings, **given), tmp_path)
    assert code == 0
    assert any(f"checkpoint of step {saved} of 180" in event.get("message", "") for event in events)
    assert files_of(tmp_path / "killed" / "train") == files_of(tmp_path / "whole" / "train")


def test_a_base_that_is_fetched_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = make_features(tmp_path / "features")
    settings = make_settings(model__base="ada/lovelace", model__revision=REVISION)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with HubServer({"ada/lovelace": ENCODER_FOLDER}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        for verb, others in {"compile": {}, "train": {"executable": tmp_path / "compile"}}.items():
            code, events, _ = run(make_job(tmp_path, verb, settings, features=features, **others), tmp_path)
            assert code == 0
            asked = [event for event in events if "asking the Hub for model.safetensors" in event.get("message", "")]
            assert len(asked) == {"compile": 1, "train": 2}[verb]  # the config's reader fetches all, the model's looks


def test_a_missing_base_ends_with_its_exit_code_and_a_clear_event(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features")
    settings = make_settings(model__base=str(tmp_path / "nothing"))
    code, events, complaints = run(make_job(tmp_path, "compile", settings, features=features), tmp_path)
    assert code == 66
    assert complaints == ""
    assert events[-1]["error"] == "InputMissingError"
    assert "is no folder" in events[-1]["what"]
    assert files_of(tmp_path / "compile") == {}


LOOK = """
import gc, runpy, sys
from podsquad.runtimes.torch import train
train.train_job = lambda *given: print("garbage", gc.isenabled(), gc.get_freeze_count() > 0, file=sys.stderr)
runpy.run_module("podsquad.runtimes.torch", run_name="__main__")
"""


def test_garbage_is_looked_for_again_once_all_is_loaded(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features")
    make_job(tmp_path, "train", make_settings(), features=features).write(tmp_path / "train.json")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path / "train.json")], capture_output=True, text=True, check=True
    )
    assert "garbage True True" in done.stderr
