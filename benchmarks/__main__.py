"""Make every figure again: ``python -m benchmarks [--squad FOLDER --tokenizer FOLDER]``; best on an idle machine.

The two folders are those of ``benchmarks.features``; without them it is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def main() -> None:
    """Run each benchmark in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad")
    parser.add_argument("--tokenizer")
    options = parser.parse_args()
    modules = [["answers"], ["metric"], ["gate"], ["gate_coverage"], ["cached_run"], ["demo"]]
    if options.squad and options.tokenizer:
        modules.append(["features", options.squad, options.tokenizer])
    else:
        print("features is left out: it needs --squad and --tokenizer")
    for module, *arguments in modules:
        print(f"\n== benchmarks.{module}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=True)


if __name__ == "__main__":
    main()
