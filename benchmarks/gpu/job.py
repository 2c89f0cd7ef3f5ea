"""The whole job through the genuine runtime: compile, train, predict and score; what a start takes, warm and cold."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.recipe import settings_of, training_flop
from benchmarks.gpu.section import Given
from benchmarks.jobs import Ran, run_job
from podsquad.data.arrow import Features


def whole_job(given: Given) -> dict[str, Any]:
    """Compile, train for all epochs, predict and score, each in a process of its own as the stages do."""
    root, settings = given.work / "job", _settings(given)
    compiled = run_job(root, "compile", settings, {"features": given.features})
    trained = run_job(root, "train", settings, {"features": given.features, "executable": root / "compile"})
    made = json.loads((root / "train" / "training.json").read_text("utf-8"))
    record = json.loads((root / "train" / "record" / "training.json").read_text("utf-8"))
    lengths = Features(given.features, "train").input_ids.lengths
    flop = training_flop(given.scale, lengths, given.scale.epochs)
    result: dict[str, Any] = {
        "compile_seconds": round(compiled.seconds, 2),
        "decisions": compiled.decisions() | trained.decisions(),
        "epochs": given.scale.epochs,
        "steps": made["steps"],
        "first_and_last_loss": _losses(root / "train"),
        "training_seconds": record["seconds"],
        **_first_look(trained, given.scale.batch_size, record["seconds"]),
        "training_process_seconds": round(trained.seconds, 2),
        "samples_per_second": record["samples_per_second"],
        "tokens_per_second": round(float(lengths.sum()) * given.scale.epochs / record["seconds"]),
        "petaflop": {name: round(value / 1e15, 6) for name, value in flop.items()},
        "tflop_per_second_of_real_tokens": round(flop["unpadded"] / record["seconds"] / 1e12, 3),
        "peak_device_memory_mib": record["peak_device_memory_mib"],
        "peak_resident_mib": record["peak_resident_mib"],
        "device_name": record["device_name"],
    }
    return result | {"prediction": _predict(given, root, settings)}


def start(given: Given) -> dict[str, Any]:
    """Time from a training's process to its first report: with the shipped executable, and without its programs.

    Raises RefusedError on a CPU: ``benchmarks.compiled_start`` is for that.
    """
    given.need_cuda("a compiled start on a CPU is measured by python -m benchmarks.compiled_start")
    root, settings = given.work / "start", _settings(given)
    compiled = run_job(root, "compile", settings, {"features": given.features})
    if not _holds_programs(root / "compile"):
        return {"compiled": False, "decisions": compiled.decisions()}
    shipped, cold = given.work / "shipped", given.work / "cold"
    for folder in (shipped, cold):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "compile", shipped)  # elsewhere: an executable travels
    shutil.copytree(root / "compile", cold, ignore=shutil.ignore_patterns("programs"))
    (cold / "programs").mkdir()
    times: dict[str, list[float]] = {"warm": [], "cold": []}
    compiled_anew: dict[str, bool] = {}
    for _ in range(2):
        for name, executable in (("warm", shipped), ("cold", cold)):
            inputs = {"features": given.features, "executable": executable}
            ran = run_job(root, "train", settings, inputs, first_step_only=True)
            times[name].append(round(ran.seconds, 2))
            compiled_anew[name] = ran.compiled_anew()
    megabytes = sum(path.stat().st_size for path in (shipped / "programs").rglob("*") if path.is_file()) / 2**20
    return {
        "compiled": True,
        "compile_stage_seconds": round(compiled.seconds, 2),
        "programs_mib": round(megabytes, 2),
        "compiled_anew": compiled_anew,
        "seconds_to_the_report_of_step_20": times,  # the first there is: a GPU is not asked before
        "warm_share_of_cold": round(min(times["warm"]) / min(times["cold"]), 3),
    }


def _settings(given: Given) -> dict[str, Any]:
    return settings_of(given.scale, given.device)


def _predict(given: Given, root: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    predicted: Ran = run_job(root, "predict", settings, {"features": given.features, "model": root / "train"})
    told = json.loads((given.features / "questions.json").read_text("utf-8"))
    logits = [np.load(root / "predict" / f"{name}_logits.npy", allow_pickle=False) for name in ("start", "end")]
    from podsquad.evaluation.answers import find_answers
    from podsquad.evaluation.squad_metric import score_answers

    features, begin = Features(given.features, "validation"), time.perf_counter()
    answers = find_answers(features, told["contexts"], *logits, num_best=20, max_answer_tokens=30)
    scores = score_answers(answers.texts, [[answer] for answer in told["answers"]])
    scoring = time.perf_counter() - begin
    record = json.loads((root / "predict" / "record" / "prediction.json").read_text("utf-8"))
    return {
        "features": len(features),
        "forward_seconds": record["seconds"],
        "answers_and_scores_seconds": round(scoring, 3),
        "prediction_and_scoring_seconds": record["seconds"] + scoring,
        "process_seconds": round(predicted.seconds, 2),
        "peak_device_memory_mib": record["peak_device_memory_mib"],
        "f1_of_a_model_from_nothing": round(scores.f1, 2),
    }


def _first_look(trained: Ran, batch_size: int, seconds: float) -> dict[str, Any]:
    """Tell the steps to the first report, which trace the model and read its programs, apart from all others."""
    first = next(event for event in trained.events if event["event"] == "progress")
    so_far = first["step"] * batch_size / first["samples_per_second"]
    return {
        "first_steps": first["step"],
        "first_steps_seconds": round(so_far, 2),
        "other_steps_seconds": round(seconds - so_far, 2),
    }


def _holds_programs(executable: Path) -> bool:
    return any(path.is_file() for path in (executable / "programs").rglob("*"))


def _losses(folder: Path) -> list[float]:
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]
    return [round(history[0]["loss"], 4), round(history[-1]["loss"], 4)]
