"""The ways to attend within packed sequences, each a function over the same query, key and value.

Each takes ``flat`` (3, tokens, heads, size) and returns (tokens, heads, size).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.section import Given, RefusedError
from podsquad.runtimes.torch.attention_route import FLASH, attention_route
from podsquad.runtimes.torch.flat_attention import attend
from podsquad.runtimes.torch.group_attention import attend_groups
from podsquad.runtimes.torch.packing import group_sequences

Run = Callable[[Tensor], Tensor]
DROPOUT = 0.1


@dataclass(frozen=True)
class Sequences:
    """How many tokens each sequence has, from short to long, and where it is."""

    lengths: np.ndarray
    boundaries: Tensor

    @property
    def longest(self) -> int:
        """Tokens of the longest."""
        return int(self.lengths.max())


@dataclass(frozen=True)
class Route:
    """A way to attend: what it is called, its dropout, and how to make it for some sequences."""

    name: str
    dropout: float
    make: Callable[[Given, Sequences, float], Run]
    deterministic: bool = False


def _flash(given: Given, sequences: Sequences, dropout: float) -> Run:
    given.need_cuda("flash attention needs a CUDA device")
    head_size = given.scale.hidden_size // given.scale.num_heads
    value, reason = attention_route(torch.device("cuda"), torch.bfloat16, head_size)
    if value != FLASH:
        raise RefusedError(reason)
    return _operator(given, sequences, dropout)


def _operator(given: Given, sequences: Sequences, dropout: float) -> Run:
    return lambda flat: attend(
        *flat.unbind(0), sequences.boundaries, sequences.longest, dropout, flat.shape[-1] ** -0.5, None
    )[0]


def _torch_varlen(given: Given, sequences: Sequences, dropout: float) -> Run:
    given.need_cuda("torch.nn.attention.varlen needs a CUDA device")
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = sequences.boundaries, sequences.longest
    run: Run = lambda flat: varlen_attn(*flat.unbind(0), bounds, bounds, longest, longest)  # noqa: E731
    return run


def _groups(given: Given, sequences: Sequences, dropout: float) -> Run:
    groups = tuple(group.to(torch.device(given.device)) for group in group_sequences(sequences.lengths))
    return lambda flat: attend_groups(flat, groups, dropout, None, None)


def _cudnn_groups(given: Given, sequences: Sequences, dropout: float) -> Run:
    given.need_cuda("cuDNN's attention needs a CUDA device")
    from torch.nn.attention import SDPBackend, sdpa_kernel

    inner = _groups(given, sequences, dropout)

    def run(flat: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return inner(flat)

    return run


def _flex(given: Given, sequences: Sequences, dropout: float) -> Run:
    given.need_cuda("FlexAttention has no backward pass on a CPU")
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    tokens = int(sequences.lengths.sum())
    owner = torch.repeat_interleave(
        torch.arange(len(sequences.lengths)), torch.from_numpy(sequences.lengths), output_size=tokens
    ).to(given.device)

    def same(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return owner[query] == owner[key]

    mask = create_block_mask(same, None, None, tokens, tokens, device=given.device, _compile=True)
    compiled: Any = torch.compile(flex_attention, dynamic=False)

    def run(flat: Tensor) -> Tensor:
        query, key, value = (each.transpose(0, 1)[None] for each in flat.unbind(0))
        attended: Tensor = compiled(query, key, value, block_mask=mask)
        return attended[0].transpose(0, 1)

    return run


ROUTES = (
    Route("flash, variable length, dropout 0.1", DROPOUT, _flash),
    Route("flash, variable length, dropout 0.1, deterministic", DROPOUT, _flash, deterministic=True),
    Route("flash, variable length, no dropout", 0.0, _flash),
    Route("torch's varlen_attn, no dropout", 0.0, _torch_varlen),
    Route("cuDNN on length groups, dropout 0.1", DROPOUT, _cudnn_groups),
    Route("cuDNN on length groups, no dropout", 0.0, _cudnn_groups),
    Route("scaled_dot_product_attention on length groups, dropout 0.1", DROPOUT, _groups),
    Route("scaled_dot_product_attention on length groups, no dropout", 0.0, _groups),
    Route("FlexAttention, no dropout", 0.0, _flex),
    Route("podsquad's operator as it runs here, dropout 0.1", DROPOUT, _operator),
)
