"""Attention over a packed buffer, written out over groups of sequences.

For autograd it is scaled_dot_product_attention, group by group; in training on a CPU with dropout, where torch has but
its slow way, and for the operator of flat_attention.py outside of CUDA, it is ``Part``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from podsquad.runtimes.torch.dropout import draw_kept
from podsquad.runtimes.torch.packing import Group


def attend_groups(
    flat: Tensor, groups: tuple[Group, ...], dropout: float, scale: float | None, window: int | None
) -> Tensor:
    """Attend within each sequence of a buffer; return what is attended to, (num_tokens, heads, head_size).

    ``flat`` (3, num_tokens, heads, head_size) holds query, key and value; the groups cover the buffer in order.
    ``window``: a token sees those that are nearer than this.
    """
    if dropout > 0 and flat.is_cpu:
        scale = flat.shape[-1] ** -0.5 if scale is None else scale
        written: Tensor = _Written.apply(flat, groups, dropout, scale, window)
        return written
    parts = []
    for group in groups:
        rows, keys, values = _rows(flat[:, group.first : group.past], group).unbind(0)
        mask = _seen(group, window, flat.device)
        attended = scaled_dot_product_attention(rows, keys, values, attn_mask=mask, dropout_p=dropout, scale=scale)
        parts.append(_flatten(attended, group))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Part:
    """The attention of one group in float32 (float64 of such), forward and then backward.

    ``flat`` (3, tokens, heads, head_size) are the group's query, key and value. ``dice`` draws the dropout: torch's own
    generator when None.
    """

    def __init__(
        self,
        flat: Tensor,
        group: Group,
        dropout: float,
        scale: float,
        window: int | None,
        dice: torch.Generator | None = None,
    ) -> None:
        self.group, self._scale, self._dtype = group, scale, flat.dtype
        rows = _rows(flat, group)
        rows = rows if flat.dtype == torch.float64 else rows.float()
        self._query, self._key, self._value = rows[0] * scale, rows[1], rows[2]
        with _as_it_stands(flat):
            scores = self._query @ self._key.transpose(-1, -2)
        mask = _seen(group, window, flat.device)
        self._weights = (scores if mask is None else scores.masked_fill_(~mask, -torch.inf)).softmax(-1)
        self._kept = draw_kept(self._weights, dropout, dice) if dropout > 0 else None

    def forward(self) -> Tensor:
        """Return what the group's tokens attend to, (tokens, heads, head_size), of flat's dtype."""
        with _as_it_stands(self._weights):
            attended = self._thin(self._weights) @ self._value
        return _flatten(attended, self.group).to(self._dtype)

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of query, key and value from that of ``forward``'s result; shapes and dtype as there."""
        count, longest, (heads, size) = self.group.num_sequences, self.group.longest, gradient.shape[1:]
        rows = gradient.to(self._weights.dtype)
        if self.group.places is not None:
            rows = rows.new_zeros(count * longest, heads, size).index_copy_(0, self.group.places, rows)
        rows = rows.reshape(count, longest, heads, size).transpose(1, 2)
        with _as_it_stands(rows):
            to_weights = self._thin(rows @ self._value.transpose(-1, -2))
            to_scores = torch.ops.aten._softmax_backward_data(to_weights, self._weights, -1, to_weights.dtype)
            to_query = (to_scores @ self._key).mul_(self._scale)
            to_key = to_scores.transpose(-1, -2) @ self._query
            to_value = self._thin(self._weights).transpose(-1, -2) @ rows
        each = (to_query, to_key, to_value)
        to_query, to_key, to_value = (_flatten(of, self.group).to(self._dtype) for of in each)
        return to_query, to_key, to_value

    def _thin(self, weights: Tensor) -> Tensor:
        return weights if self._kept is None else weights * self._kept


class _Written(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, flat: Tensor, groups: tuple[Group, ...], dropout: float, scale: float, window: int | None
    ) -> Tensor:
        ctx.parts = [Part(flat[:, group.first : group.past], group, dropout, scale, window) for group in groups]
        return torch.cat([part.forward() for part in ctx.parts])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        parts, ctx.parts = ctx.parts, None
        to_flat = gradients[0].new_empty(3, *gradients[0].shape)
        for part in parts:
            inside = slice(part.group.first, part.group.past)
            for place, gradient in zip(to_flat, part.backward(gradients[0][inside]), strict=True):
                place[inside] = gradient
        return to_flat, None, None, None, None


def _as_it_stands(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast does not turn float32 products into half precision."""
    return torch.autocast(tensor.device.type, enabled=False)


def _rows(flat: Tensor, group: Group) -> Tensor:
    """Return a group's tokens (3, tokens, heads, size) as (3, num_sequences, heads, longest, size)."""
    rows = flat if group.tokens is None else flat.index_select(1, group.tokens)
    return rows.view(3, group.num_sequences, group.longest, *flat.shape[2:]).transpose(2, 3)


def _flatten(rows: Tensor, group: Group) -> Tensor:
    """Return (num_sequences, heads, longest, size) as the group's tokens, (tokens, heads, size)."""
    flat = rows.transpose(1, 2).reshape(-1, rows.shape[1], rows.shape[3])
    return flat if group.places is None else flat.index_select(0, group.places)


def _seen(group: Group, window: int | None, device: torch.device) -> Tensor | None:
    """Return which tokens each token of a group sees: (num_sequences or 1, 1, longest or 1, longest); None: all."""
    if window is None or group.longest <= window:
        return group.mask
    places = torch.arange(group.longest, device=device)
    distance = (places[:, None] - places).abs()
    # Filler sees itself at least: a row that sees nothing is NaN, and its gradient would reach its neighbours' keys.
    return distance < window if group.mask is None else (group.mask & (distance < window)) | (distance == 0)
