"""How long a training takes to its first step: where it has to compile the model, and where it finds it compiled.

    python -m benchmarks.compiled_start

The genuine runtime in processes of its own, on the CPU with runtime.compiled=always, for an encoder of 12 layers, as
roberta-base has, 384 wide; from the start of the process to the event that tells of the first step. A step is of one
feature: what is measured is the start, not the arithmetic of a step, which every start has to do (with eight features
it was a sixth of a second start). The fewer layers, the larger the share, as what a start imports stays: with 6
layers it was 9.9 of 54.7 processor seconds on a busy machine. Both have the same executable, but the first finds its
folder of programs empty. Turn by turn; medians; a second start that compiles anything ends the program. On a CUDA
device the same is done by ``benchmarks.gpu_squad``.

What a second start spends, in processor seconds (AMD EPYC, torch 2.13, 6 layers): importing torch and transformers 4.3,
making the model 0.4, handing it to torch's compiler 0.4, some 1.3 for the compiler's own modules, 2 for tracing the
model and reading the programs, and then the step. What would spare more was tried and not taken: a trace that is kept
(torch._dynamo.aot_compile, or torch._dynamo.config.caching_precompile, whose guards cannot be read again either) would
spare 1.5, but torch 2.13 does not load it in another process, as it refers to modules by numbers of the process that
wrote it; oneDNN's products as an operator in the program are a tenth faster than MKL's at these sizes, which a step of
this size does not show.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.jobs import run_job
from benchmarks.real_text import add_text_option, make_real_features, need_text
from benchmarks.timing import RESULTS, Times, surroundings
from podsquad.store.durable import write_json

RESULT = RESULTS / "compiled_start.json"
MODEL = {"base": "scratch", "revision": None, "hidden_size": 384, "num_layers": 12, "num_heads": 6}
MODEL |= {"intermediate_size": 1536, "dropout": 0.1}


def main() -> None:
    """Compile once, start trainings in turn, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    add_text_option(parser)
    options = parser.parse_args()
    need_text(options.text)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        features, settings = make_real_features(root / "features", *options.text), _settings()
        compile_seconds = run_job(root, "compile", settings, {"features": features}).seconds
        warm, cold = root / "compile", root / "cold"
        shutil.copytree(warm, cold, ignore=shutil.ignore_patterns("programs"))
        (cold / "programs").mkdir()
        times = Times()
        for _ in range(options.rounds):
            for name, executable in (("first_time", cold), ("second_time", warm)):
                inputs = {"features": features, "executable": executable}
                ran = run_job(root, "train", settings, inputs, first_step_only=True)
                if (executable == warm) == ran.compiled_anew():
                    raise SystemExit(f"the {name.replace('_', ' ')} is none: it tells {ran.events}")
                times.add(name, ran.seconds, ran.processor_seconds)
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
    settings["training"].update(batch_size=1, micro_batch_tokens=2048, balanced=True)
    settings["runtime"].update(device="cpu", compiled="always")
    return settings


if __name__ == "__main__":
    main()
