"""The settings of what is read: which questions, and how text becomes token windows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from podsquad.config.section import Section, run_only, setting


class DataSettings(Section):
    """Which questions to train and to evaluate on."""

    source: Literal["demo", "files", "hub"] = setting("demo", shapes=("download",))
    """The generated demo world, SQuAD v1.1 JSON files, or a dataset of the Hugging Face Hub."""
    train_file: Path | None = setting(None, shapes=("download",), when=("data.source", "files"), content=True)
    """SQuAD v1.1 JSON (also .gz) to train on; for source "files"."""
    validation_file: Path | None = setting(None, shapes=("download",), when=("data.source", "files"), content=True)
    """SQuAD v1.1 JSON (also .gz) to evaluate on; for source "files"."""
    hub_dataset: str = setting("rajpurkar/squad", shapes=("download",), when=("data.source", "hub"), min_length=1)
    """Dataset repository; for source "hub"."""
    hub_revision: str = setting(
        "7b6d24c440a36b6815f21b70d25016731768db1f", shapes=("download",), when=("data.source", "hub")
    )
    """Commit of the dataset repository: a branch's name would let the data change under an unchanged key."""
    expected_train_questions: int | None = setting(None, shapes=("download",), ge=1)
    """Refuse the training split unless it has this many rows; nothing: do not check."""
    expected_validation_questions: int | None = setting(None, shapes=("download",), ge=1)
    """Refuse the validation split unless it has this many rows; nothing: do not check."""
    max_bad_share: float = setting(0.01, shapes=("download",), ge=0.0, le=1.0)
    """Share of unusable records of a split above which the download stops; up to it they are quarantined."""
    demo_seed: int = setting(1984, shapes=("download",), when=("data.source", "demo"), ge=0)
    """Seed of the demo world."""
    demo_train_questions: int = setting(4000, shapes=("download",), when=("data.source", "demo"), ge=10)
    """Number of training questions in the demo world."""
    demo_validation_questions: int = setting(600, shapes=("download",), when=("data.source", "demo"), ge=10)
    """Number of validation questions in the demo world."""


class FeatureSettings(Section):
    """How text becomes token windows."""

    tokenizer: str = setting("FacebookAI/roberta-base", shapes=("tokenize",), content=True, min_length=1)
    """Folder or Hub name of a fast tokenizer; "train" makes a byte-level BPE from the training split."""
    tokenizer_revision: str | None = setting(None, shapes=("tokenize",))
    """Commit of the tokenizer's Hub repository; nothing: the one that podsquad knows for it, else its newest."""
    vocab_size: int = setting(4000, shapes=("tokenize",), when=("features.tokenizer", "train"), ge=262, le=1_000_000)
    """Size of the vocabulary when the tokenizer is trained."""
    max_length: int = setting(384, shapes=("tokenize",), ge=32, le=8192)
    """Longest window, in tokens, special tokens included."""
    stride: int = setting(128, shapes=("tokenize",), ge=0)
    """Tokens of context that neighbouring windows share."""
    label_closing_token: bool = setting(False, shapes=("tokenize",))
    """Label as Hugging Face's run_qa.py does where an answer starts in a window's last context token: it takes the
    closing token for the start."""
    workers: int = run_only(1, ge=1, le=64)
    """Threads that tokenize."""
