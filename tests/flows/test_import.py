"""Importing the flow is what every run begins with, on a worker and in ``podsquad run``."""

from __future__ import annotations

import json
import subprocess
import sys

# Seconds each; none is needed before a stage runs.
HEAVY = {"torch", "transformers", "datasets", "tokenizers", "matplotlib", "safetensors", "sqlalchemy", "fastapi"}


def test_importing_the_flow_loads_nothing_heavy() -> None:
    program = "import flows.retrain, json, sys; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=300)
    modules = set(json.loads(told.stdout))
    assert "prefect" in modules
    assert modules & HEAVY == set()
