"""Which attention a device gets, decided before anything is trained, with the reason.

"flash": variable-length flash attention over the flat buffer, one call per layer. "grouped": torch's attention over
groups of sequences of similar length, which runs everywhere. Flash attention that a device should have is tried first,
since what it computes would not be looked at again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from podsquad.runtimes.torch.flat_attention import (
    FLASH_CAPABILITY,
    FLASH_DTYPES,
    FLASH_HEAD_MULTIPLE,
    FLASH_HEAD_SIZE,
    attend,
)
from podsquad.runtimes.torch.group_attention import attend_groups
from podsquad.runtimes.torch.packing import group_sequences

FLASH, GROUPED = "flash", "grouped"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_LENGTHS = (3, 64, 0, 17, 130)
_TOLERANCE = 0.02  # of values of about 1, in bfloat16: 8 bits, and sums of 130
_DROPOUT = 0.1


def decide_attention(config: Any, device: torch.device, precision: str) -> tuple[str, str]:
    """Return "flash" or "grouped" for a packed model, and why."""
    heads = config.num_attention_heads
    return attention_route(
        device, PRECISIONS[precision], getattr(config, "head_dim", None) or config.hidden_size // heads
    )


@lru_cache(maxsize=8)
def attention_route(device: torch.device, dtype: torch.dtype, head_size: int) -> tuple[str, str]:
    """Return "flash" or "grouped" for heads of that size, and why."""
    if device.type != "cuda":
        return GROUPED, "flash attention needs a CUDA device"
    if dtype not in FLASH_DTYPES:
        return GROUPED, f"flash attention takes no {dtype}"
    if head_size > FLASH_HEAD_SIZE or head_size % FLASH_HEAD_MULTIPLE:
        return GROUPED, f"flash attention takes heads of a multiple of {FLASH_HEAD_MULTIPLE} up to {FLASH_HEAD_SIZE}"
    capability = torch.cuda.get_device_capability(device)
    if capability < FLASH_CAPABILITY:
        return GROUPED, f"flash attention needs capability 8.0, and the device has {capability[0]}.{capability[1]}"
    try:
        fault = flash_fault(device, dtype, head_size)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
        fault = f"it raised {type(error).__name__}: {error}".splitlines()[0]
    if fault is not None:
        return GROUPED, f"flash attention was tried on this device and failed: {fault}"
    return FLASH, "tried on this device: it gives what attention by groups gives"


def flash_fault(device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
    """Return what is wrong with attention over a flat buffer on that device; None: nothing.

    Its results and gradients without dropout are those of attention by groups. With dropout what is attended to is
    linear in the values, so that sum(attended * g) = sum(values * their gradient) exactly if the backward pass drops
    what the forward pass dropped.
    """
    lengths = torch.tensor(_LENGTHS)
    boundaries = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to(device, torch.int32)
    dice = torch.Generator().manual_seed(0)
    drawn = torch.randn((4, int(lengths.sum()), 2, head_size), generator=dice).to(device)
    groups = tuple(group.to(device) for group in group_sequences(lengths.numpy()))
    weight, scale = drawn[3], head_size**-0.5

    def flash(dropout: float) -> tuple[torch.Tensor, torch.Tensor]:
        flat = drawn[:3].to(dtype).requires_grad_()
        attended, _, _ = attend(*flat.unbind(0), boundaries, max(_LENGTHS), dropout, scale, None)
        (gradients,) = torch.autograd.grad((attended.float() * weight).sum(), flat)
        return attended.detach().float(), gradients.float()

    flat = drawn[:3].to(dtype).float().requires_grad_()
    expected = attend_groups(flat, groups, 0.0, scale, None)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), flat)
    state = _random_state(device)
    try:
        attended, gradients = flash(0.0)
        dropped, dropped_gradients = flash(_DROPOUT)
    finally:
        _restore_random_state(device, state)
    for what, found, true in (("results", attended, expected.detach()), ("gradients", gradients, wanted)):
        if not float((found - true).norm() / true.norm()) <= _TOLERANCE:
            return f"its {what} differ from those of attention by groups"
    if torch.equal(dropped, attended):
        return "it drops nothing out"
    forward = float((dropped * weight).sum())
    backward = float((drawn[2].to(dtype).float() * dropped_gradients[2]).sum())
    if not abs(forward - backward) <= _TOLERANCE * float((dropped * weight).norm()):
        return "its backward pass does not drop out what its forward pass dropped out"
    return None


def _random_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _restore_random_state(device: torch.device, state: torch.Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
