"""The attention that keeps packed sequences apart, registered with transformers under a name of its own.

transformers' own attention on a flat buffer is silently wrong: every token sees every sequence. Ours refuses to run
without a packing, so an encoder that does not pass one on fails instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from podsquad.errors import SettingsError
from podsquad.runtimes.torch.packing import Group, Packing

PACKED_ATTENTION = "podsquad_packed"
PADDED_ATTENTION = "sdpa"


def register_packed_attention() -> None:
    """Let models be made with ``attn_implementation=PACKED_ATTENTION``; they then take ``packing=`` in forward."""
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    AttentionMaskInterface.register(PACKED_ATTENTION, _no_mask)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence of ``packing``.

    query, key and value are (1, heads, num_tokens, head_size); returns (1, num_tokens, heads, head_size) and no
    weights. Raises SettingsError without a packing, and where the layer is causal or has a mask of its own.
    """
    if packing is None or attention_mask is not None or getattr(module, "is_causal", False):
        raise SettingsError(
            "this encoder cannot run packed: its attention got "
            + ("no packing" if packing is None else "a mask of its own, or is causal"),
            do="set runtime.formulation=padded",
        )
    if _can_flash(query):
        return _flash(query, key, value, packing, dropout, scaling), None
    flat = torch.stack((query[0], key[0], value[0])).transpose(1, 2)  # (3, num_tokens, heads, head_size)
    parts = [_attend(flat[:, group.first : group.past], group, dropout, scaling) for group in packing.groups]
    return (parts[0] if len(parts) == 1 else torch.cat(parts))[None], None


def _attend(flat: Tensor, group: Group, dropout: float, scaling: float | None) -> Tensor:
    """Attend within the sequences of one group; ``flat`` is (3, tokens, heads, size), returns (tokens, heads, size)."""
    heads, size = flat.shape[2:]
    rows = flat if group.tokens is None else flat.index_select(1, group.tokens)
    query, key, value = rows.view(3, group.num_sequences, group.longest, heads, size).transpose(2, 3).unbind(0)
    attended = scaled_dot_product_attention(query, key, value, attn_mask=group.mask, dropout_p=dropout, scale=scaling)
    rows = attended.transpose(1, 2).reshape(-1, heads, size)
    return rows if group.places is None else rows.index_select(0, group.places)


def _can_flash(query: Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= 256


def _flash(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, dropout: float, scaling: float | None
) -> Tensor:
    """Attend with CUDA's variable-length flash attention. Written from PyTorch's schema; never run on hardware yet.

    The aten operator, not torch.nn.attention.varlen.varlen_attn, because that one has no dropout (torch 2.13).
    """
    flat = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]
    boundaries, longest = packing.boundaries, packing.longest
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        *flat, boundaries, boundaries, longest, longest, dropout, False, False, scale=scaling
    )[0]
    return attended[None]


def _no_mask(*_: Any, **__: Any) -> None:
    return None
