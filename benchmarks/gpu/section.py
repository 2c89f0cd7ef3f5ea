"""What a section of the benchmark is given, and how it says that it cannot run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.recipe import Scale


class RefusedError(Exception):
    """This machine cannot do it; the message is the reason."""


@dataclass(frozen=True)
class Given:
    """The device ("cpu" or "cuda"), how much of everything, and the folders."""

    device: str
    scale: Scale
    work: Path
    text: tuple[Path, ...]
    tokenizer: Path | None

    @property
    def features(self) -> Path:
        """The features that the section "data" makes."""
        return self.work / "features"

    @property
    def outcome(self) -> Path:
        """The file of what a section found; one that may be cut off writes there what it has found so far."""
        return self.work / "outcome.json"

    def need_cuda(self, why: str) -> None:
        """Raise RefusedError on anything but a CUDA device."""
        if self.device != "cuda":
            raise RefusedError(f"{why}; this is a CPU")


def config_of(given: Given, dropout: float) -> Any:
    """Return the config of the model that is trained."""
    from transformers import RobertaConfig

    from podsquad.data.arrow import read_layout
    from podsquad.runtimes.base_model import sizes_from_scratch

    scale = given.scale
    sizes = {"hidden_size": scale.hidden_size, "num_layers": scale.num_layers, "num_heads": scale.num_heads}
    sizes |= {"intermediate_size": scale.intermediate_size}
    config = RobertaConfig(**sizes_from_scratch(sizes, read_layout(given.features)))
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    return config


def rows_of_a_step(given: Given) -> np.ndarray:
    """Return the features of the first step, as the training takes them."""
    from podsquad.data.arrow import Features
    from podsquad.runtimes.balance import balanced_order

    lengths = Features(given.features, "train").input_ids.lengths
    return balanced_order(1984, 0, lengths, given.scale.batch_size)[: given.scale.batch_size]


def synchronise(device: str) -> None:
    """Wait for the device."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
