"""A model together with what turns features into its input: one forward pass over a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from podsquad.data.arrow import Features
from podsquad.runtimes.base_model import first_position, takes_token_types
from podsquad.runtimes.torch.packing import FILL_TOKENS, MicroBatch, pack, pad, take_sequences
from podsquad.runtimes.torch.static import StaticSize


@dataclass(frozen=True)
class InputForm:
    """How a model takes sequences."""

    packed: bool
    first_position: int
    takes_token_types: bool
    pad_token_id: int
    size: StaticSize | None = None
    """Of every packed micro-batch; None: as long as its sequences."""
    grouped: bool = True
    """Whether attention goes over groups of sequences, as against flash attention."""

    @classmethod
    def of(
        cls,
        config: Any,
        layout: Mapping[str, Any],
        formulation: str,
        size: StaticSize | None = None,
        *,
        grouped: bool = True,
    ) -> InputForm:
        """Return the form for a transformers config and a features layout; ``formulation``: packed or padded."""
        return cls(
            packed=formulation == "packed",
            first_position=first_position(config),
            takes_token_types=takes_token_types(config, layout),
            pad_token_id=config.pad_token_id if config.pad_token_id is not None else 0,
            size=size,
            grouped=grouped,
        )

    def batch(self, sequences: Sequence[np.ndarray], type_starts: np.ndarray) -> MicroBatch:
        """Return the micro-batch of sequences; ``type_starts`` tells where each one's context begins."""
        types = type_starts if self.takes_token_types else None
        if self.packed:
            return pack(
                sequences,
                first_position=self.first_position,
                type_starts=types,
                size=self.size,
                fill_tokens=FILL_TOKENS,
                grouped=self.grouped,
                filler_id=self.pad_token_id,
            )
        return pad(sequences, pad_token_id=self.pad_token_id, type_starts=types)

    def take(self, features: Features, rows: np.ndarray) -> MicroBatch:
        """Return the micro-batch of the features in ``rows``, in that order."""
        return self.batch(take_sequences(features, rows), features.context_start[rows])


def token_logits(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Return start and end logits, float32 (float64 of a float64 model), flattened: one per place of ``input_ids``."""
    given: dict[str, Any] = {"input_ids": batch.input_ids}
    for name in ("position_ids", "token_type_ids", "attention_mask", "packing"):
        if getattr(batch, name) is not None:
            given[name] = getattr(batch, name)
    output = model(**given)
    start, end = output.start_logits.flatten(), output.end_logits.flatten()
    return (start, end) if start.dtype == torch.float64 else (start.float(), end.float())


def summed_loss(model: Any, batch: MicroBatch, starts: Tensor, ends: Tensor) -> Tensor:
    """Return the sum over sequences of (CE(start) + CE(end)) / 2, each over the sequence's own tokens.

    ``starts`` and ``ends`` (num_sequences,) int64 are token labels within each sequence. Equal to Hugging Face's
    question-answering loss times the number of sequences where nothing is padded; that one lets padding take part
    in the softmax.
    """
    total = torch.zeros((), device=starts.device)
    for logits, labels in zip(token_logits(model, batch), (starts, ends), strict=True):
        # Gathered into rows, not scattered: a scatter-add's order of sums is not fixed on a GPU.
        rows = logits[batch.row_tokens].masked_fill(~batch.row_mask, -torch.inf)
        total = total + cross_entropy(rows, labels, reduction="sum")
    return total / 2
