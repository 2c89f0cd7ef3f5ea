"""A small world that does not exist, told as a SQuAD data set, and a small encoder that has read its like."""

from __future__ import annotations

from pathlib import Path

ENCODER_FOLDER = Path(__file__).parent.parent / "demo_encoder"
"""The encoder and its tokenizer, made by scripts/pretrain_demo_encoder.py."""
