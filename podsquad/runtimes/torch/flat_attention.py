"""Attention over a packed buffer as one operator, which a compiler takes whole.

On CUDA in half precision it is variable-length flash attention, forward and backward, with dropout. Elsewhere it is
written out over groups of sequences (group_attention.py): what makes a compiled model run where there is no CUDA, and
what the CUDA branch is held against. The CUDA branch was written from the sources of PyTorch (2.11 and 2.13 take the
same arguments) and has not been run on hardware yet: attention_route.py tries it before it is used.

The aten operators, not torch.nn.attention.varlen.varlen_attn, because that one has no dropout (torch 2.13).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from podsquad.runtimes.torch.group_attention import Part
from podsquad.runtimes.torch.packing import group_sequences

FLASH_DTYPES = (torch.bfloat16, torch.float16)
FLASH_HEAD_SIZE, FLASH_HEAD_MULTIPLE = 256, 8  # the largest; and what divides it
FLASH_CAPABILITY = (8, 0)  # Ampere


def can_flash(query: Tensor) -> bool:
    """Tell whether attention of these heads runs as flash attention."""
    return (
        query.is_cuda
        and query.dtype in FLASH_DTYPES
        and query.shape[-1] <= FLASH_HEAD_SIZE
        and query.shape[-1] % FLASH_HEAD_MULTIPLE == 0
        and torch.cuda.get_device_capability(query.device) >= FLASH_CAPABILITY
    )


@torch.library.custom_op("podsquad::attend", mutates_args=())  # type: ignore[untyped-decorator]
def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    boundaries: Tensor,
    longest: int,
    dropout: float,
    scale: float,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attend within each sequence of a buffer.

    query, key and value are (num_tokens, heads, head_size), contiguous; ``boundaries`` (num_sequences + 1,) int32 are
    cu_seqlens, and no sequence is longer than ``longest``. ``window``: a token sees those that are nearer than this.
    Returns what is attended to, of query's shape, and what the backward pass needs: log-sum-exp and the random state.
    """
    if not can_flash(query):
        seed = torch.randint(2**62, (1,), device="cpu")
        parts = [part.forward() for part in _parts(query, key, value, boundaries, dropout, scale, window, seed)]
        return torch.cat(parts), query.new_empty(0, dtype=torch.float32), seed
    reach = _reach(window)
    attended, log_sum, random, _, _ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, boundaries, boundaries, longest, longest, dropout, False, False),
        scale=scale,
        window_size_left=reach,
        window_size_right=reach,
    )
    if dropout == 0.0:
        random = torch.zeros(2, dtype=torch.uint64, device=query.device)  # nobody wrote it: bytes shall not differ
    return attended, log_sum, random


@attend.register_fake  # type: ignore[untyped-decorator]
def _attend_fake(query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, *_: Any) -> tuple[Tensor, ...]:
    if can_flash(query):
        log_sum = query.new_empty((query.shape[1], query.shape[0]), dtype=torch.float32)
        return torch.empty_like(query), log_sum, query.new_empty(2, dtype=torch.uint64)
    return torch.empty_like(query), query.new_empty(0, dtype=torch.float32), torch.empty(1, dtype=torch.int64)


@torch.library.custom_op("podsquad::attend_backward", mutates_args=())  # type: ignore[untyped-decorator]
def attend_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attended: Tensor,
    log_sum: Tensor,
    random: Tensor,
    boundaries: Tensor,
    longest: int,
    dropout: float,
    scale: float,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value."""
    if not can_flash(query):
        parts = _parts(query, key, value, boundaries, dropout, scale, window, random)
        gradients = [part.backward(gradient[part.group.first : part.group.past]) for part in parts]
        to_query, to_key, to_value = (torch.cat(each) for each in zip(*gradients, strict=True))
        return to_query, to_key, to_value
    reach = _reach(window)
    to_query, to_key, to_value = torch.ops.aten._flash_attention_backward(
        *(gradient.contiguous(), query, key, value, attended, log_sum, boundaries, boundaries, longest, longest),
        *(dropout, False, random, torch.empty(0, device=query.device)),
        scale=scale,
        window_size_left=reach,
        window_size_right=reach,
    )
    return to_query, to_key, to_value


@attend_backward.register_fake  # type: ignore[untyped-decorator]
def _attend_backward_fake(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    query, key, value, boundaries, *ctx.plain = inputs
    ctx.save_for_backward(query, key, value, *output, boundaries)


def _gradients(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    return (*attend_backward(gradient, *ctx.saved_tensors, *ctx.plain), *(None,) * 5)


attend.register_autograd(_gradients, setup_context=_keep)


def _parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    boundaries: Tensor,
    dropout: float,
    scale: float,
    window: int | None,
    seed: Tensor,
) -> list[Part]:
    flat = torch.stack((query, key, value))
    groups = (group.to(query.device) for group in group_sequences(boundaries.diff().cpu().numpy()))
    dice = torch.Generator(query.device).manual_seed(int(seed))
    return [Part(flat[:, group.first : group.past], group, dropout, scale, window, dice) for group in groups]


def _reach(window: int | None) -> int:
    return -1 if window is None else window - 1  # flash attention counts the farthest token in
