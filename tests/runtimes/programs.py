"""Small programs in the place of a runtime."""

from __future__ import annotations

import sys
from pathlib import Path

# What a program begins with: the job, and the protocol spoken by hand.
RAW = """
import json, os, signal, sys, time
job = json.load(open(sys.argv[1]))
work, settings = job["work"], job["settings"]
def say(**event):
    print(json.dumps(event, ensure_ascii=False), flush=True)
"""

# A runtime that ends as the protocol asks when it is stopped, after saving.
OBEDIENT = """
import subprocess, sys, threading
from pathlib import Path
from podsquad.runtimes.job import runtime_main
def train(job, events, stop):
    if "holder" in job.settings:
        with open(job.settings["holder"], "wb") as pipe:
            subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=pipe)
    events.log("ready")
    for step in range(job.settings.get("chatter", 0)):
        events.log("x" * 1000)
    while not stop:
        stop._event.wait(60)
    for step in range(job.settings.get("chatter", 0)):
        events.log("y" * 1000)
    (Path(job.work) / "saved").write_text(stop.reason)
    stop.raise_if_set("the checkpoint is saved")
sys.exit(runtime_main({"train": train}, sys.argv[1:]))
"""


def make_interpreter(folder: Path, source: str, then: str = "") -> Path:
    """Write an executable that takes a runtime's arguments and runs ``source`` with the job file alone.

    ``then``: shell, run after it.
    """
    script, interpreter = folder / "program.py", folder / "python"
    script.write_text(source, encoding="utf-8")
    # Called as: python -m podsquad.runtimes.<name> <job file>
    line = f'"{sys.executable}" "{script}" "$3"\n{then}\n'
    interpreter.write_text("#!/bin/sh\n" + (line if then else "exec " + line), encoding="utf-8")
    interpreter.chmod(0o755)
    return interpreter
