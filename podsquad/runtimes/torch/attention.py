"""The attention that keeps packed sequences apart, registered with transformers under a name of its own.

transformers' own attention on a flat buffer is silently wrong: every token sees every sequence. Ours refuses to run
without a packing, so an encoder that does not pass one on fails instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from podsquad.errors import SettingsError
from podsquad.runtimes.torch.flat_attention import attend
from podsquad.runtimes.torch.group_attention import attend_groups
from podsquad.runtimes.torch.packing import Packing

PACKED_ATTENTION = "podsquad_packed"
PADDED_ATTENTION = None  # transformers' choice: scaled_dot_product_attention, or eager where an encoder lacks it


def register_packed_attention() -> None:
    """Let models be made with ``attn_implementation=PACKED_ATTENTION``; they then take ``packing=`` in forward."""
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    AttentionMaskInterface.register(PACKED_ATTENTION, _no_mask)


def attention_of(formulation: str) -> str | None:
    """Return the attention implementation that "packed" or "padded" needs, ready for use."""
    if formulation == "packed":
        register_packed_attention()
        return PACKED_ATTENTION
    return PADDED_ATTENTION


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence of ``packing``.

    query, key and value are (1, heads, num_tokens, head_size); returns (1, num_tokens, heads, head_size) and no
    weights. ``sliding_window``: a token sees those that are nearer than this (ModernBERT's local layers). Raises
    SettingsError without a packing, and where the layer is causal or has a mask of its own.
    """
    if packing is None or attention_mask is not None or getattr(module, "is_causal", False):
        raise SettingsError(
            "this encoder cannot run packed: its attention got "
            + ("no packing" if packing is None else "a mask of its own, or is causal"),
            why="packed sequences attend within themselves, which this attention would not keep to",
            do="set runtime.formulation=padded",
        )
    flat = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    if packing.groups:
        return attend_groups(torch.stack(flat), packing.groups, dropout, scaling, sliding_window)[None], None
    whole = [tensor.contiguous() for tensor in flat]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended, _, _ = attend(*whole, packing.boundaries, packing.longest, dropout, scale, sliding_window)
    return attended[None], None


def _no_mask(*_: Any, **__: Any) -> None:
    return None
