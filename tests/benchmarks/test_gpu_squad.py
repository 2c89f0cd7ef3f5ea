"""The benchmark for a GPU, tiny and on the CPU: every part of it that a CPU can run runs, and the rest says why not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu_squad
from benchmarks.gpu.recipe import FULL, SMALL, settings_of, training_flop
from benchmarks.gpu.section import Given, RefusedError
from benchmarks.gpu.table import make_table
from benchmarks.gpu.text import make_features, read_text
from podsquad.config.settings import Settings
from podsquad.data.arrow import Features, read_layout
from tests.benchmarks.squad_text import write_squad
from tests.test_imports import imports

ROOT = Path(gpu_squad.__file__).parents[1]


def test_everything_that_a_cpu_can_runs_and_the_rest_says_why_not(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.gpu_squad", "--device", "cpu", "--small", "--result", str(file)]
    command += ["--text", str(write_squad(tmp_path / "squad.json")), "--work", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text("utf-8"))
    assert set(gpu_squad.NAMES) < set(result)
    routes = result.pop("attention")
    told = {name: found for name, found in {**result, **routes}.items() if isinstance(found, dict)}
    assert {name: found["error"] for name, found in told.items() if "error" in found} == {}
    refused = {name for name, found in told.items() if "refused" in found}
    assert {"waits", "start"} < refused
    assert all("this is a CPU" in told[name]["refused"] for name in refused)
    assert {name for name in routes if name not in refused} == {
        "scaled_dot_product_attention on length groups, dropout 0.1",
        "scaled_dot_product_attention on length groups, no dropout",
        "podsquad's operator as it runs here, dropout 0.1",
    }
    dropped = routes["podsquad's operator as it runs here, dropout 0.1"]
    assert dropped["dropout_forward_and_backward_differ_by"] < 1e-4
    for precision in ("float32", "bfloat16"):
        for formulation in ("packed", "packed, one static size"):
            assert result["correctness"][precision][formulation]["near_enough"], result["correctness"]
    assert result["data"]["splits"]["train"]["features"] == SMALL.train_features
    job = result["job"]
    assert job["steps"] == SMALL.train_features // SMALL.batch_size
    assert job["samples_per_second"] > 0
    assert job["prediction"]["features"] == SMALL.validation_features
    assert result["peer"]["peer"] == "transformers' Trainer"
    assert result["peer"]["training_seconds_extrapolated"] > 0
    assert "nothing here says how fast a GPU is" in done.stdout


def given(tmp_path: Path, device: str = "cpu") -> Given:
    return Given(device, SMALL, tmp_path / "work", (write_squad(tmp_path / "squad.json"),), None)


def broken(name: str) -> Any:
    def run(given: Given) -> dict[str, Any]:
        if name == "data":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if name == "correctness":
            raise RefusedError("too old a GPU")
        raise ImportError("no such library")

    return run


def test_a_section_that_fails_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_squad, "_function", broken)
    file = tmp_path / "result.json"
    text = str(write_squad(tmp_path / "squad.json"))
    arguments = ["--device", "cpu", "--small", "--text", text, "--work", str(tmp_path), "--result", str(file)]
    gpu_squad.main([*arguments, "--sections", "data", "correctness", "job"])
    result = json.loads(file.read_text("utf-8"))
    assert result["data"]["error"] == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert result["correctness"] == {"refused": "too old a GPU"}
    assert result["job"]["error"] == "ImportError: no such library"
    assert "ImportError: no such library" in capsys.readouterr().out
    gpu_squad.main([*arguments, "--sections", "products"])
    assert set(json.loads(file.read_text("utf-8"))) == set(result) | {"products"}  # what was there stays


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("import sys; open(sys.argv[-1], 'w').write('{\"found\": 1}')", {"found": 1}),
        ("import os, sys; sys.stderr.write('Xid 31'); sys.stderr.flush(); os.abort()", "ended with exit code -6"),
        ("import sys; open(sys.argv[-1], 'w').write('{\"found\": 1}'); sys.exit(3)", "ended with exit code 3"),
        ("import time; time.sleep(600)", "not done after 3 s"),
    ],
    ids=["answers", "aborts", "aborts with half an answer", "hangs"],
)
def test_a_process_that_dies_or_hangs_is_that_section_s_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, outcome: Any
) -> None:
    script = tmp_path / "child.py"
    script.write_text(code)
    genuine = gpu_squad.run_limited

    def run(command: list[str], *limits: Any) -> int | None:
        return genuine([sys.executable, str(script), command[command.index("--child") + 2]], *limits)

    monkeypatch.setattr(gpu_squad, "run_limited", run)
    monkeypatch.setitem(gpu_squad.SECONDS, "job", 3 if "sleep" in code else 120)
    found = gpu_squad._in_a_process(given(tmp_path, "cuda"), "job", deadline=float("inf"))
    assert (found if isinstance(outcome, dict) else found["error"]) == outcome
    if "Xid" in code:
        assert found["where"][0].startswith("Xid 31")


def test_all_sections_together_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, limits = iter([0.0, 1.0, 100.0, 120.0]), []

    def run(command: list[str], seconds: float, errors: Path) -> int:
        limits.append(seconds)
        Path(command[command.index("--child") + 2]).write_text("{}")
        errors.touch()
        return 1

    monkeypatch.setattr(gpu_squad.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(gpu_squad, "run_limited", run)
    file = tmp_path / "result.json"
    arguments = ["--text", str(tmp_path / "squad.json"), "--work", str(tmp_path), "--result", str(file)]
    gpu_squad.main([*arguments, "--minutes", "2", "--sections", "machine", "job", "peer"])
    assert limits == [gpu_squad.SECONDS["machine"], 20.0]  # its own limit, then what is left
    result = json.loads(file.read_text("utf-8"))
    assert result["job"]["error"] == "ended with exit code 1"
    assert result["peer"] == {"error": "no time was left"}
    assert "no time was left" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    for section in ("machine", "job", "attention/FlexAttention, no dropout"):
        assert "sees no CUDA device" in gpu_squad._outcome(given(tmp_path, "cuda"), section)["refused"]


def test_a_small_run_does_not_go_among_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_squad.main(["--text", "squad.json", "--device", "cpu"])
    assert "--result is needed" in capsys.readouterr().err


def test_features_have_the_size_the_lengths_and_the_answers(tmp_path: Path) -> None:
    text = read_text([write_squad(tmp_path / "squad.json")], None)
    made = make_features(tmp_path / "features", text, SMALL)
    features, layout = Features(tmp_path / "features", "validation"), read_layout(tmp_path / "features")
    told = json.loads((tmp_path / "features" / "questions.json").read_text("utf-8"))
    lengths = features.input_ids.lengths
    assert len(features) == SMALL.validation_features == layout["splits"]["validation"]["num_features"]
    assert lengths.max() <= SMALL.longest_tokens
    assert abs(lengths.mean() - SMALL.mean_tokens) < 3
    assert made["splits"]["train"]["features"] == SMALL.train_features
    for row in range(len(features)):
        first = int(features.start_position[row]) - int(features.context_start[row])
        last = int(features.end_position[row]) - int(features.context_start[row])
        starts, ends = features.char_starts[row], features.char_ends[row]
        assert len(starts) == int(features.context_length[row])
        assert told["contexts"][row][starts[first] : ends[last]] == told["answers"][row]
        assert told["answers"][row].strip(",.") in {"the Swiss Alps", "Dmitri Mendeleev", "by dances"}


def test_the_settings_are_those_of_a_runtime() -> None:
    sections = Settings().model_dump(mode="json", include={"model", "training", "runtime", "evaluation"})
    mine = settings_of(FULL, "cuda")
    assert {name: set(section) for name, section in mine.items()} == {
        name: set(section) for name, section in sections.items()
    }
    reference = {"epochs", "batch_size", "learning_rate", "warmup_share", "weight_decay", "beta1", "beta2", "seed"}
    assert {name: mine["training"][name] for name in reference} == {
        name: sections["training"][name] for name in reference
    }


def test_the_operations_are_those_of_the_reference_s_floor() -> None:
    lengths = np.full(FULL.train_features, 172)
    flop = training_flop(FULL, lengths, 2)
    assert flop["padded"] / 1e15 == pytest.approx(37.6, rel=0.02)
    assert flop["unpadded"] / 1e15 == pytest.approx(16.1, rel=0.02)


def test_the_table_says_what_falls_short() -> None:
    job = {"training_seconds": 38.0, "samples_per_second": 4661.0, "tflop_per_second_of_real_tokens": 426.0}
    job |= {"peak_device_memory_mib": 30_000.0, "prediction": {"prediction_and_scoring_seconds": 2.5}}
    table = make_table({"small": False, "device": "cuda", "job": job, "peer": {"error": "out of memory"}})
    assert "2 epochs in at most 40 s: 38.00 s\n" in table
    assert "the stretch, 33 s: 38.00 s, falls short" in table
    assert "prediction and scoring in at most 2 s: 2.50 s, falls short" in table
    assert "3.54 x" in table
    assert "53.9%" in table
    assert "out of memory" in table


def test_it_needs_nothing_but_torch_transformers_arrow_and_numpy() -> None:
    waiting, seen, others = {"benchmarks.gpu_squad", "podsquad.runtimes.torch.__main__"}, set[str](), set[str]()
    waiting |= {f"benchmarks.gpu.{path.stem}" for path in (ROOT / "benchmarks/gpu").glob("*.py")} - {
        "benchmarks.gpu.__init__"
    }
    while waiting:
        module = waiting.pop()
        seen.add(module)
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        for name in imports(ast.parse(path.read_text("utf-8"))):
            top = name.partition(".")[0]
            if top not in ("podsquad", "benchmarks"):
                others.add(top)
            elif name not in seen and ROOT.joinpath(*name.split(".")).with_suffix(".py").exists():
                waiting.add(name)
    assert others - set(sys.stdlib_module_names) == {
        *("torch", "transformers", "pyarrow", "numpy"),
        *("safetensors", "huggingface_hub"),  # which transformers brings along
    }
