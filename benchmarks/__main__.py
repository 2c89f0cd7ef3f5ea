"""Make every figure again: ``python -m benchmarks [--minutes M] [--squad FOLDER --tokenizer FOLDER]``.

The two folders are those of ``benchmarks.features``: train.json and dev.json in SQuAD's layout, and roberta-base's
tokenizer. Where they are not there, what needs real text is left out. It never takes longer than it is given: what has
not ended by then is ended, and its file stays that of an earlier run. The demo is run once for all that needs it done.
Ends with the table of ``benchmarks.targets``, which is also written to results/table.md; ``python -m
benchmarks.targets README.md`` puts it into the README.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.emulated_night import IPU_PYTHON
from benchmarks.limited import run_limited
from benchmarks.real_text import SQUAD, TOKENIZER, is_there
from benchmarks.targets import write_table

WITH_TEXT = ("features", "training_step", "compiled_start")
# In this order: where time runs out, what the table needs is there.
ON_THE_DEMO = ("demo", "cached_run", "unchanged_run")
MODULES = ("answers", "metric", *WITH_TEXT, *ON_THE_DEMO, "emulated_night")
BESIDE_THE_TABLE = ("gate", "gate_coverage")
MINUTES = 45
# Fewer than each takes alone, so that all fit into the time.
FEWER = {"cached_run": ("--rounds=3",), "unchanged_run": ("--rounds=3",), "demo": ("--seeds", "1984", "1985")}


def main() -> None:
    """Run each benchmark in a process of its own; one that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"for all (default {MINUTES})")
    parser.add_argument("--squad", type=Path, default=SQUAD)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    options = parser.parse_args()
    deadline, not_made = time.monotonic() + 60 * options.minutes, []
    with tempfile.TemporaryDirectory() as work:
        for module in (*MODULES, *BESIDE_THE_TABLE):
            print(f"\n== benchmarks.{module}", flush=True)
            began = time.monotonic()
            arguments = _arguments(module, options, Path(work, "demo"))
            failure = _why_not(module, options) or _run(module, arguments, deadline - began)
            if failure:
                not_made.append(f"{module} ({failure})")
            print(failure or f"in {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{write_table()}")
    if not_made:
        sys.exit(f"not made: {', '.join(not_made)}; their files are those of an earlier run")


def _why_not(module: str, options: argparse.Namespace) -> str:
    if module in WITH_TEXT and not is_there(options.squad, options.tokenizer):
        return "it needs --squad and --tokenizer"
    if module == "emulated_night" and not IPU_PYTHON.exists():
        return f"{IPU_PYTHON} is not there: make ipu-env"
    return ""


def _arguments(module: str, options: argparse.Namespace, demo: Path) -> list[str]:
    arguments = [*FEWER.get(module, ()), *([f"--folder={demo}"] if module in ON_THE_DEMO else ())]
    if module in WITH_TEXT:
        text = [str(options.squad), str(options.tokenizer)]
        arguments += text if module == "features" else ["--text", *text]
    return arguments


def _run(module: str, arguments: list[str], seconds: float) -> str:
    """Return why the benchmark did not end well; nothing when it did."""
    if seconds <= 0:
        return "no time was left"
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    code = run_limited(command, seconds)
    if code is None:
        return "time ran out"
    return f"exit code {code}" if code else ""


if __name__ == "__main__":
    main()
