"""Make every figure again: ``python -m benchmarks [--squad FOLDER --tokenizer FOLDER]``; best on an idle machine.

The two folders are those of ``benchmarks.features``: train.json and dev.json in SQuAD's layout, and roberta-base's
tokenizer. Where they are not there, what needs real text is left out. Ends with the table of ``benchmarks.targets``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.real_text import SQUAD, TOKENIZER, is_there
from benchmarks.targets import make_table

MODULES = ("answers", "metric", "gate", "gate_coverage", "cached_run", "demo")
WITH_TEXT = ("training_step", "compiled_start")


def main() -> None:
    """Run each benchmark in a process of its own; one that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, default=SQUAD)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    options = parser.parse_args()
    commands = [[module] for module in MODULES]
    if is_there(options.squad, options.tokenizer):
        text = [str(options.squad), str(options.tokenizer)]
        commands += [["features", *text], *([module, "--text", *text] for module in WITH_TEXT)]
    else:
        print(f"features, {' and '.join(WITH_TEXT)} are left out: they need --squad and --tokenizer")
    failed = []
    for module, *arguments in commands:
        print(f"\n== benchmarks.{module}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=False).returncode:
            failed.append(module)
    print(f"\n{make_table()}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; their files are those of an earlier run")


if __name__ == "__main__":
    main()
