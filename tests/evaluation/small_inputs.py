"""The inputs of a small evaluation: dataset, features, logits and a training's records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import FEATURES_SCHEMA, hash_id
from podsquad.data.dataset import write_split
from podsquad.data.squad import Answer, Record
from podsquad.evaluation.report import build_evaluation

CONTEXT = "Ada wrote | it in 1843 and Bob read it"
WORDS = CONTEXT.split()
SETTINGS = EvaluationSettings(num_best=6)


@dataclass(frozen=True)
class Inputs:
    """The folders of one evaluation."""

    root: Path

    def build(self, name: str = "out") -> Path:
        output = self.root / name
        output.mkdir(exist_ok=True)
        root = self.root
        build_evaluation(
            SETTINGS,
            root / "dataset",
            root / "features",
            root / "logits",
            root / "model",
            output,
        )
        return output


def make_inputs(folder: Path) -> Inputs:
    """Make twelve questions on one context; the model answers every third with a wrong word."""
    for name in ("dataset", "features", "logits", "model"):
        (folder / name).mkdir()
    starts = np.cumsum([0] + [len(word) + 1 for word in WORDS[:-1]])
    records, rows, start_logits, end_logits = [], [], [], []
    for number in range(12):
        truth = 0 if number % 2 else 5
        text = WORDS[truth]
        records.append(
            Record(f"q{number}", f"t{number % 3}", CONTEXT, "Who?", (Answer(text, int(starts[truth])),), "row")
        )
        length = len(WORDS) + 4
        rows.append(
            {
                "question_index": number,
                "question_hash": hash_id(f"q{number}"),
                "context_start": 3,
                "context_length": len(WORDS),
                "start_position": 0,
                "end_position": 0,
                "input_ids": [0] * length,
                "char_starts": starts.tolist(),
                "char_ends": [int(s) + len(word) for s, word in zip(starts, WORDS, strict=True)],
            }
        )
        peak = 3 + (2 if number % 3 == 0 else truth)
        logits = np.full(length, -4.0, np.float32)
        logits[peak] = 4.0 + number / 10
        start_logits.append(logits)
        end_logits.append(logits)
    write_split(folder / "dataset/validation.arrow", records)
    with pa.ipc.new_file(folder / "features/validation.arrow", FEATURES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, FEATURES_SCHEMA))
    np.save(folder / "logits/start_logits.npy", np.concatenate(start_logits))
    np.save(folder / "logits/end_logits.npy", np.concatenate(end_logits))
    lines = [json.dumps({"step": n, "loss": 3.0 / n, "learning_rate": 0.1}) + "\n" for n in range(1, 9)]
    (folder / "model/history.jsonl").write_text("".join(lines))
    (folder / "model/training.json").write_text(json.dumps({"steps": 8, "mean_loss": 1.25}))
    return Inputs(folder)
