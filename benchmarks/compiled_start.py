"""How long a training takes to its first step: where it has to compile the model, and where it finds it compiled.

    python -m benchmarks.compiled_start

The genuine runtime in processes of its own, on the CPU with runtime.compiled=always, for an encoder of 6 layers x 384
with the vocabulary of its features; from the start of the process to the event that tells of the first step. Both
have the same executable, but the first finds its folder of programs empty. Turn by turn; medians. On a CUDA device the
same is done by ``benchmarks.gpu_squad``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.real_text import is_there, make_real_features
from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.runtimes.job import Job
from podsquad.store.durable import write_json

RESULT = RESULTS / "compiled_start.json"
MODEL = {"base": "scratch", "revision": None, "hidden_size": 384, "num_layers": 6, "num_heads": 6}
MODEL |= {"intermediate_size": 1536, "dropout": 0.1}


def main() -> None:
    """Compile once, start trainings in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not is_there():
        raise SystemExit("compiled_start needs real text: ../shared/data/squad, ../shared/data/roberta-base-tokenizer")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        features, settings = make_real_features(root / "features"), _settings()
        compile_seconds, _ = _run(root, "compile", settings, {"features": features})
        warm, cold = root / "compile", root / "cold"
        shutil.copytree(warm, cold, ignore=shutil.ignore_patterns("programs"))
        (cold / "programs").mkdir()
        times = Times()
        for _ in range(options.rounds):
            for name, executable in (("first_time", cold), ("second_time", warm)):
                times.add(name, *_run(root, "train", settings, {"features": features, "executable": executable}))
        megabytes = sum(path.stat().st_size for path in (warm / "programs").rglob("*") if path.is_file()) / 2**20
    result: dict[str, Any] = times.as_json() | {
        "times_faster": times.times_faster("first_time", "second_time"),
        "compile_stage_seconds": round(compile_seconds, 2),
        "programs_mib": round(megabytes, 2),
        "model": MODEL,
    }
    write_json(RESULT, result | surroundings(("torch", "transformers")))
    print(json.dumps(result, indent=2), f"\nwritten to {RESULT}")


def _settings() -> dict[str, Any]:
    from podsquad.config.settings import Settings

    settings = Settings().model_dump(mode="json", include={"model", "training", "runtime", "evaluation"})
    settings["model"].update(MODEL)
    settings["training"].update(batch_size=8, micro_batch_tokens=2048, balanced=True)
    settings["runtime"].update(device="cpu", compiled="always")
    return settings


def _run(root: Path, verb: str, settings: dict[str, Any], inputs: dict[str, Path]) -> tuple[float, float]:
    """Run a job to its end, or a training to its first step; return seconds and processor seconds."""
    output, work = root / verb, root / f"{verb}-work"
    for folder in (output, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    job_file = root / f"{verb}.json"
    Job(verb, {name: str(path) for name, path in inputs.items()}, str(output), str(work), settings).write(job_file)
    command = [sys.executable, "-m", "podsquad.runtimes.torch", str(job_file)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    # A cache of the user's own would make the first start a second one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")}
    environ["TORCHINDUCTOR_CACHE_DIR"] = str(work / "nothing")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as child:
        assert child.stdout is not None
        seconds = 0.0
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "failure" and not seconds:
                raise SystemExit(f"{verb}: {event}")
            if event["event"] == "progress" and not seconds:
                seconds = time.perf_counter() - begin
                child.send_signal(signal.SIGTERM)
    seconds = seconds or time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
