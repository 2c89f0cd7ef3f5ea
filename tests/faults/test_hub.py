"""Dataset, tokenizer and base model from a Hub that fails in every way: named by class, waited for, then whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from podsquad.data.demo import ENCODER_FOLDER
from tests.faults.hub_reader import FAULTS, READERS, STAGE_OF
from tests.faults.place import CANARY
from tests.faults.test_data import squad_rows
from tests.runtimes.ipu.made_up import IPU_PYTHON, WITHOUT_IPU_PYTHON

ROOT = Path(__file__).resolve().parents[2]
HERE = [what for what in READERS if what != "ipu_base"]
KINDS = {"401": "SettingsError", "403": "SettingsError", "404": "InputMissingError"}
LONGEST_PATIENCE = 100  # seconds, which datasets sets for itself
# Seconds, at least, between attempts; where datasets asks for its list, an answer that is cut or never comes ends it.
WAITED_FOR = {"429": 7.0, "a short limit": 7.0, "500": 1.0, "503": 1.0, "a file": 1.0, "never": 1.0, "half": 1.0}
WAITED_FOR_LISTS = {"unlisted": 1.0, "cut": 1.0}


Reading = dict[str, dict[str, Any]]


def read_all(what: str, folder: Path, python: str = sys.executable) -> Reading:
    """Return what each fault came to, by its name."""
    content = folder / "dataset" if what == "dataset" else ENCODER_FOLDER
    if what == "dataset":
        content.mkdir()
        for split in ("train", "validation"):
            lines = [json.dumps(row) + "\n" for row in squad_rows(12, split)]
            (content / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    program = [python, "-m", "tests.faults.hub_reader", str(folder), what, str(content)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HF_TOKEN": CANARY, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(program, cwd=folder, env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    assert CANARY not in child.stderr + child.stdout
    found = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    return {each["fault"]: each for each in found}


def check(what: str, fault: str, reading: Reading, waited_for: Mapping[str, float], goes_on: Sequence[str]) -> None:
    """The fault was met, waited for, and named by its class; nothing half-made stays, and the same then comes whole.

    At those in ``goes_on`` it came whole at once.
    """
    told = reading[fault]
    assert told["met"] > 0
    assert told["holding"] == []
    if fault in ("never", "unlisted"):  # shortened for the test: the reader must have given up by itself
        assert told["patience"]
        assert all(seconds and seconds <= LONGEST_PATIENCE for seconds in told["patience"])
    wholes = {each["then"]["made"] for each in reading.values()}
    assert len(wholes) == 1
    if fault in goes_on:
        assert told["made"] in wholes
        assert len(told["kept"]) == (what in STAGE_OF)
        assert told["waited"] >= waited_for.get(fault, 0.0)
        return
    assert told["kept"] == []
    assert told["kind"] == KINDS.get(fault, "TemporaryError")
    assert ("3,600 seconds" if fault.startswith("an hour") else "ada/lovelace") in told["what"]
    assert told["why"]
    assert told["do"]
    assert "Traceback" not in told["what"] + told["why"] + told["do"]
    assert CANARY not in told["told"]
    assert told["waited"] >= waited_for.get(fault, 0.0)
    assert told["waited"] < 600


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    folders = {what: tmp_path_factory.mktemp(what) for what in HERE}
    with ThreadPoolExecutor() as pool:
        return dict(zip(folders, pool.map(read_all, folders, folders.values()), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", HERE)
def test_a_failing_hub_is_named_and_what_it_holds_comes_whole_afterwards(
    what: str, fault: str, readings: dict[str, Reading]
) -> None:
    waited_for = WAITED_FOR if what == "dataset" else WAITED_FOR | WAITED_FOR_LISTS
    check(what, fault, readings[what], waited_for, goes_on=("slow", "a short limit"))


@pytest.fixture(scope="module")
def ipu_reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return read_all("ipu_base", tmp_path_factory.mktemp("ipu_base"), str(IPU_PYTHON))


@pytest.mark.ipu
@WITHOUT_IPU_PYTHON
@pytest.mark.parametrize("fault", FAULTS)
def test_the_ipu_runtime_names_a_failing_hub_too(fault: str, ipu_reading: Reading) -> None:
    """Its client, of another generation, waits for less by itself: the stage is tried again."""
    check("ipu_base", fault, ipu_reading, {}, goes_on=("slow",))
