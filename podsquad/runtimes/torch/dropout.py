"""Dropout on the CPU, drawn four values at a time.

torch draws a CPU's dropout value by value, in one thread while the others wait: in a packed training step of an
encoder 384 wide that was a tenth of the processor time, and more of the clock's. Here one draw of 64 bits serves four
values, sixteen bits each. A probability is therefore met to the nearest 1/65,536 (0.1 is 0.1000061), and what is kept
is scaled by the share that is really kept, so that the expectation is exact but for the factor's own rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16  # of one draw's part
_PARTS = 4  # of a draw


def use_shared_draws(model: nn.Module) -> int:
    """Let every plain dropout layer of ``model`` draw four values at a time; return how many there are."""
    layers = [module for module in model.modules() if type(module) is nn.Dropout and 0 < module.p < 1]
    for layer in layers:
        layer.__class__ = SharedDrawsDropout
    return len(layers)


class SharedDrawsDropout(nn.Dropout):  # type: ignore[misc]
    """A dropout layer that draws four values at a time."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` with values dropped, in training on a CPU; elsewhere as nn.Dropout does."""
        if not (self.training and input.is_cpu):
            return super().forward(input)
        return input * draw_kept(input, self.p)


def draw_kept(values: Tensor, probability: float, dice: torch.Generator | None = None) -> Tensor:
    """Return a factor for each value: 0 with ``probability``, else what keeps the expectation; of values' shape and
    dtype. ``dice``: torch's own generator of the device when None. Raises ValueError outside of 0 < probability <= 1.
    """
    if not 0 < probability <= 1:
        raise ValueError(f"a dropout of {probability} needs no draw, or is none")
    if probability == 1:
        return torch.zeros_like(values)
    count, device = values.numel(), values.device
    draws = torch.empty(-(-count // _PARTS), dtype=torch.int64, device=device)
    draws.random_(-(2**63), None, generator=dice)
    level = draws.view(torch.int16)[:count].view(values.shape).float()  # -32,768 ... 32,767, all alike
    dropped = min(max(round(probability * _LEVELS), 1), _LEVELS - 1)
    kept = level.ge_(dropped - _LEVELS // 2).mul_(_LEVELS / (_LEVELS - dropped))
    return kept.to(values.dtype)
