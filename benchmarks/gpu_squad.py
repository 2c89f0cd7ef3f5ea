"""The whole job on one GPU: roberta-base's architecture, 2 epochs over SQuAD's size and lengths, against a POD16.

    python -m benchmarks.gpu_squad --text train.json dev.json --tokenizer FOLDER
    python -m benchmarks.gpu_squad --text train.json --device cpu --small --result FILE    the same code, on any CPU

--text is real text in SQuAD v1.1's layout, of any size; it is repeated and cut anew until there are 88,568 features of
172 tokens on average (gpu/text.py). --tokenizer is a folder with roberta-base's vocab.json and merges.txt; without it
words are tokens. Needs torch, transformers, pyarrow and numpy beside podsquad's runtime rooms, no network.

Sections, in order: the data; packed against padded, logits and gradients; whether a step waits for the host; the whole
job; transformers' Trainer on the same features; the routes of attention; matrix products; a warm start against a cold
one. One that fails is told with its error and the rest goes on: on a GPU each runs in a process of its own, since an
error there may spoil the process's device. The result is written after each.

Where a command may take ten minutes and no more, three do, with one --work and one --result: the second and third use
the features and add to the result of the first. On a GPU all sections of a command together take no longer than
--minutes: each gets what is left, and what had no time left says so.

    ... --minutes 9.5 --sections machine data correctness waits job
    ... --minutes 9.5 --sections peer
    ... --minutes 9.5 --sections attention products start

No GPU has run it. With torch 2.11.0, transformers 5.17.0, pyarrow 26.0.1, numpy 2.4.6 and accelerate 1.15.0 alone, as
with those podsquad is developed with, it ran on a CPU, --small: every section but waits, start and the routes that need
CUDA; packed was equal to padded. So did the tests of packing, encoders, static sizes, programs and training
(tests/runtimes/torch), under both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.recipe import FULL, SMALL
from benchmarks.gpu.section import Given, RefusedError
from benchmarks.gpu.table import make_table
from benchmarks.limited import run_limited
from benchmarks.timing import RESULTS, machine
from podsquad.store.durable import write_json

RESULT = RESULTS / "gpu_squad.json"
LIBRARIES = ("torch", "transformers", "pyarrow", "numpy", "accelerate")
ROUTE_SECONDS = 180
SECONDS = {"machine": 60, "data": 300, "correctness": 240, "waits": 180, "products": 120}
SECONDS |= {"start": 580, "job": 580, "peer": 400}
# In this order: where time runs out, the figures that matter most are there.
NAMES = ("machine", "data", "correctness", "waits", "job", "peer", "attention", "products", "start")


def main(arguments: list[str] | None = None) -> None:
    """Run the sections, write the result after each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny model on a few features")
    parser.add_argument("--sections", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for all sections, on a GPU")
    parser.add_argument("--result", type=Path, help=f"default, of the whole job on a GPU: {RESULT}")
    parser.add_argument("--work", type=Path, help="keep the working files here; features that are there are used")
    parser.add_argument("--child", nargs=2, metavar=("SECTION", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.result is None:
        if options.small or options.device == "cpu":
            parser.error("--result is needed: what is no whole job on a GPU does not belong among the results")
        options.result = RESULT
    if options.work is None:
        with tempfile.TemporaryDirectory() as folder:
            _run(options, Path(folder))
    else:
        _run(options, options.work)


def _run(options: argparse.Namespace, work: Path) -> None:
    given = Given(
        device=options.device,
        scale=SMALL if options.small else FULL,
        work=work.resolve(),
        text=tuple(path.resolve() for path in options.text),
        tokenizer=options.tokenizer and options.tokenizer.resolve(),
    )
    if options.child:
        write_json(Path(options.child[1]), _outcome(given, options.child[0]))
        return
    result: dict[str, Any] = json.loads(options.result.read_text("utf-8")) if options.result.exists() else {}
    result |= {"small": options.small, "device": options.device}
    run, deadline = _outcome, time.monotonic() + 60 * options.minutes
    if given.device == "cuda":
        run = partial(_in_a_process, deadline=deadline)
    for name in NAMES:
        if name not in options.sections:
            continue
        print(f"== {name}", flush=True)
        if name == "attention":
            from benchmarks.gpu.routes import ROUTES

            result[name] = {}
            for route in ROUTES:
                result[name][route.name] = run(given, f"attention/{route.name}")
                write_json(options.result, result)
        else:
            result[name] = run(given, name)
        write_json(options.result, result)
        print(json.dumps(result[name], indent=2), flush=True)
    print(make_table(result))
    print(f"written to {options.result}")


def _outcome(given: Given, section: str) -> dict[str, Any]:
    """Return what a section found; or why it cannot run here; or its error."""
    try:
        if given.device == "cuda" and section != "data":
            _need_device()
        return _function(section)(given)
    except RefusedError as refusal:
        return {"refused": str(refusal)}
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}", "where": traceback.format_exc().splitlines()[-12:]}


def _in_a_process(given: Given, section: str, deadline: float) -> dict[str, Any]:
    seconds = min(SECONDS.get(section, ROUTE_SECONDS), deadline - time.monotonic())
    if seconds <= 0:
        return {"error": "no time was left"}
    file, errors = given.outcome, given.work / "stderr.log"
    given.work.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu_squad", "--device", given.device, "--work", str(given.work)]
    command += ["--text", *map(str, given.text), "--child", section, str(file)]
    command += ["--small"] * (given.scale is SMALL) + ["--result", str(file)]
    if given.tokenizer:
        command += ["--tokenizer", str(given.tokenizer)]
    code = run_limited(command, seconds, errors)
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if code is None:
        return found | {"error": f"not done after {seconds:.0f} s"}
    if code or not found:
        where = errors.read_text("utf-8", errors="replace").splitlines()[-12:]
        return found | {"error": f"ended with exit code {code}", "where": where}
    return found


def _function(section: str) -> Callable[[Given], dict[str, Any]]:
    """Return what runs a section. Libraries are loaded here: one that cannot be loaded is that section's error."""
    if section.startswith("attention/"):
        from benchmarks.gpu.attention import measure

        return lambda given: measure(given, section.partition("/")[2])
    if section == "correctness":
        from benchmarks.gpu.correctness import compare

        return compare
    if section == "waits":
        from benchmarks.gpu.syncs import look

        return look
    if section == "products":
        from benchmarks.gpu import products

        return products.measure
    if section == "peer":
        from benchmarks.gpu import peer

        return peer.measure
    if section in ("start", "job"):
        from benchmarks.gpu import job

        return job.start if section == "start" else job.whole_job
    return {"machine": _machine, "data": _data}[section]


def _machine(given: Given) -> dict[str, Any]:
    import torch

    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    found: dict[str, Any] = {**machine(), "versions": versions}
    if given.device == "cuda":
        there = torch.cuda.get_device_properties(0)
        found["gpu"] = {"name": there.name, "memory_gib": round(there.total_memory / 2**30, 1)}
        found["gpu"] |= {"capability": f"{there.major}.{there.minor}", "cuda": torch.version.cuda}
        found["gpu"] |= {"multiprocessors": there.multi_processor_count, "cudnn": torch.backends.cudnn.version()}
    return found


def _need_device() -> None:
    import torch

    if not torch.cuda.is_available():
        raise RefusedError(f"torch {torch.__version__} sees no CUDA device")


def _data(given: Given) -> dict[str, Any]:
    from benchmarks.gpu.text import make_features, read_text

    if given.features.exists():
        raise RefusedError(f"{given.features} is there already and is used")
    return make_features(given.features, read_text(list(given.text), given.tokenizer), given.scale)


if __name__ == "__main__":
    main()
