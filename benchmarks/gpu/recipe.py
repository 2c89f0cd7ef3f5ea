"""What is trained: roberta-base's architecture by the reference's recipe, or something tiny by the same code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

POD16_SECONDS, POD16_SAMPLES_PER_SECOND = 134.5, 1316.95
POD16_SOURCE = "the model card of Graphcore/roberta-base-squad: 2 epochs, every sequence padded to 384 tokens"
PEAK_FLOPS = 790e12
PEAK_SOURCE = "the measure of bf16 matrix products that this project plans with; the data sheet of an H100 SXM says 989"
DIFFERS = (
    "weights are new, not roberta-base's: speed does not depend on them, scores would",
    "text is repeated and cut anew to SQuAD's number and lengths of features",
    "sequences are packed, not padded; the POD16 ran every one at 384 tokens",
    "the softmax over a sequence leaves padding out; Hugging Face's loss includes it",
    "bf16 with float32 weights and no loss scaling; the POD16 used float16 and a loss scale of 64",
    "AdamW decays no bias and no normalisation weight",
    "the last 248 features of an epoch are trained on too; the POD16 dropped them",
    "a step takes features of all lengths (training.balanced), so that steps are of one size",
    "positions for 384 tokens, not for 512",
    "kernels are deterministic, which costs time; the Trainer's are not",
)


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    train_features: int
    validation_features: int
    mean_tokens: float
    longest_tokens: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    batch_size: int
    epochs: int
    rounds: int
    peer_steps: int
    product_tokens: int


FULL = Scale(88_568, 10_790, 172.0, 384, 768, 12, 12, 3072, 256, 2, 20, 40, 44_000)
SMALL = Scale(40, 12, 40.0, 96, 32, 2, 2, 64, 8, 1, 2, 2, 128)


def settings_of(scale: Scale, device: str, *, compiled: str = "auto", dropout: float | None = None) -> dict[str, Any]:
    """Return the sections of podsquad's settings that a runtime reads. Dropout None: as RoBERTa's config says, 0.1."""
    return {
        "model": {
            "base": "scratch",
            "revision": None,
            "hidden_size": scale.hidden_size,
            "num_layers": scale.num_layers,
            "num_heads": scale.num_heads,
            "intermediate_size": scale.intermediate_size,
            "dropout": dropout,
        },
        "training": {
            "epochs": scale.epochs,
            "batch_size": scale.batch_size,
            "micro_batch_tokens": 49_152,
            "learning_rate": 6e-5,
            "warmup_share": 0.25,
            "weight_decay": 0.01,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "max_gradient_norm": None,
            "seed": 1984,
            "precision": "bfloat16",
            "drop_last": False,
            "balanced": True,
            "checkpoint_interval_steps": 1_000_000,
        },
        "runtime": {
            "name": "torch",
            "emulated": False,
            "python": None,
            "device": device,
            "formulation": "packed",
            "processes": 1,
            "compiled": compiled,
            "threads": None,
            "hang_seconds": 900.0,
            "exclusive": "never",
            "exclusive_wait_seconds": 0.0,
            "lock_folder": None,
        },
        "evaluation": {"num_best": 20, "max_answer_tokens": 30, "batch_tokens": 65_536},
    }


def training_flop(scale: Scale, lengths: np.ndarray, epochs: int) -> dict[str, float]:
    """Return the operations that a training needs: of the tokens that are there, and padded to the longest.

    Matrix products of the encoder's layers (embeddings and the head are left out) and of attention, forward and
    twice that backward; a multiplication and its addition are two.
    """
    layer = 4 * scale.hidden_size**2 + 2 * scale.hidden_size * scale.intermediate_size
    squares = float((lengths.astype(np.float64) ** 2).sum())
    products = 6.0 * scale.num_layers * layer * float(lengths.sum())
    attention = 12.0 * scale.num_layers * scale.hidden_size * squares
    full = float(scale.longest_tokens)
    padded = len(lengths) * full * (6.0 * scale.num_layers * layer + 12.0 * scale.num_layers * scale.hidden_size * full)
    return {"unpadded": epochs * (products + attention), "padded": epochs * padded}
