"""Tiny features folders, settings and jobs for the tests of the torch runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from podsquad.config.settings import Settings
from podsquad.data.arrow import FEATURES_SCHEMA, hash_id
from podsquad.runtimes.job import Job

VOCAB_SIZE = 40
PAD = 1
MAX_LENGTH = 48
ROOT = Path(__file__).parents[3]


def make_features(
    folder: Path, *, num_train: int = 22, num_validation: int = 7, token_types: bool = False, ids: str = "question"
) -> Path:
    """Write a features folder of made-up tokens: the answer is the token that follows token 5, and the next one.

    The question of row 3 has the id "question 3".
    """
    folder.mkdir()
    splits = {}
    for number, (split, count) in enumerate((("train", num_train), ("validation", num_validation))):
        rng = np.random.default_rng(number)
        rows = [_make_row(rng, row, f"{ids} {row}") for row in range(count)]
        table = pa.Table.from_pylist(rows, schema=FEATURES_SCHEMA)
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, FEATURES_SCHEMA) as writer:
            writer.write_table(table)
        lengths = [len(row["input_ids"]) for row in rows]
        splits[split] = {
            "num_features": count,
            "num_tokens": sum(lengths),
            "longest_tokens": max(lengths, default=0),
            "num_questions": count,
        }
    layout = {
        "max_length": MAX_LENGTH,
        "stride": 8,
        "vocab_size": VOCAB_SIZE,
        "pad_token_id": PAD,
        "uses_token_types": token_types,
        "splits": splits,
    }
    (folder / "layout.json").write_text(json.dumps(layout))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"a stub": true}')
    return folder


def _make_row(rng: np.random.Generator, row: int, question_id: str) -> dict[str, Any]:
    length = int(rng.integers(12, MAX_LENGTH + 1))
    ids = rng.integers(6, VOCAB_SIZE, length)
    ids[0], ids[3], ids[4], ids[-1] = 0, 2, 2, 2
    mark = int(rng.integers(5, length - 3))
    ids[mark] = 5
    count = length - 6
    return {
        "question_index": row,
        "question_hash": hash_id(question_id),
        "context_start": 5,
        "context_length": count,
        "start_position": mark + 1,
        "end_position": mark + 2,
        "input_ids": ids.tolist(),
        "char_starts": list(range(0, 2 * count, 2)),
        "char_ends": list(range(1, 2 * count, 2)),
    }


def make_settings(**changes: Any) -> dict[str, Any]:
    """Return the sections of a tiny training on one CPU thread; ``training__epochs=1`` changes training.epochs."""
    settings = Settings().model_dump(mode="json", include={"model", "training", "runtime", "evaluation"})
    settings["model"].update(base="scratch", hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32)
    settings["training"].update(epochs=2, batch_size=4, micro_batch_tokens=100, learning_rate=1e-3)
    settings["runtime"].update(device="cpu", threads=1)
    for name, value in changes.items():
        section, _, field = name.partition("__")
        settings[section][field] = value
    return settings


def make_job(root: Path, verb: str, settings: dict[str, Any], **inputs: Path) -> Job:
    """Return a job whose output is the new folder ``<root>/<verb>``; its work folder may be there already."""
    output, work = root / verb, root / f"{verb}-work"
    output.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    return Job(verb, {name: str(path) for name, path in inputs.items()}, str(output), str(work), settings)


def start_runtime(job: Job, job_file: Path) -> subprocess.Popen[str]:
    """Start the runtime as a stage does; its standard input must stay open while it shall live."""
    job.write(job_file)
    return subprocess.Popen(
        [sys.executable, "-m", "podsquad.runtimes.torch", str(job_file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below ``folder`` but the record of times."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and "record" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class Recorder:
    """Events that keep what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    def log(self, message: str, level: str = "info") -> None:
        self.told.append(("log", (message, level)))

    def progress(self, step: int, total_steps: int, **figures: float | None) -> None:
        self.told.append(("progress", (step, total_steps, figures)))

    def checkpoint(self, step: int) -> None:
        self.told.append(("checkpoint", (step,)))

    def decision(self, name: str, value: Any, reason: str) -> None:
        self.told.append(("decision", (name, value, reason)))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [fields for each, fields in self.told if each == kind]
