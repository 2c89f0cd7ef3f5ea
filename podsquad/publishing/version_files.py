"""Which files make up a version: the model, its card, and what the next night's gate and ``ask`` read of it."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from pathlib import Path

from podsquad.data.arrow import LAYOUT_FILE
from podsquad.errors import InternalError
from podsquad.evaluation.report import METRICS_FILE
from podsquad.evaluation.scored import QUESTIONS_FILE
from podsquad.publishing.listing import Listing
from podsquad.store.durable import canonical_json

# What of a model's artifact a user of the model needs; histories and ledgers stay in the store.
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "LICENSE*",
)
EVALUATION_FILES = (METRICS_FILE, QUESTIONS_FILE, "plots/loss.png", "plots/f1_by_slice.png")


def collect_files(model: Path, evaluation: Path, features: Path) -> dict[str, Path]:
    """Return the files of a version but its card and receipt, by their published names.

    ``model`` is the folder with weights and config. Raises InternalError when it lacks them or cannot be read.
    """
    try:
        names = sorted(entry.name for entry in model.iterdir() if entry.is_file() and is_model_file(entry.name))
    except OSError as error:
        raise InternalError(
            f"cannot read the model {model}: {error}",
            why="the training's artifact lacks what every training writes",
            do="run again with --refresh train",
        ) from error
    for needed, pattern in (("config.json", "config.json"), ("model.safetensors", "model*.safetensors")):
        if not fnmatch.filter(names, pattern):
            raise InternalError(
                f"the model {model} has no {needed}",
                why="the training's artifact lacks what every training writes",
                do="run again with --refresh train",
            )
    files = {name: model / name for name in names}
    files |= {name: evaluation / name for name in EVALUATION_FILES}
    return files | {LAYOUT_FILE: features / LAYOUT_FILE}


def is_model_file(name: str) -> bool:
    """Tell whether a published file is part of the model itself."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in MODEL_FILES)


def model_digest(digests: Mapping[str, str]) -> str:
    """Return what tells models apart: the hash of names and SHA-256 of the model's files among ``digests``.

    Equal for two versions with the same weights, config and tokenizer, whatever their cards and scores.
    """
    named = {name: sha256 for name, sha256 in digests.items() if is_model_file(name)}
    return hashlib.sha256(canonical_json(named).encode()).hexdigest()


def model_of(listing: Listing) -> str:
    """Return the digest that tells a version's model apart."""
    return model_digest({name: entry.sha256 for name, entry in listing.files.items()})


def gate_seed(model_digest: str) -> int:
    """Return the seed by which the gate resamples for the challenger with this digest."""
    return int(model_digest[:8], 16)
