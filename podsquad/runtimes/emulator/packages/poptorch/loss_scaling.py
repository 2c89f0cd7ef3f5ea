"""Automatic loss scaling: the factor on the loss follows how large float16 gradients get.

After an update the share of gradient elements above a bin's edge is looked at: more than a threshold halves the
factor, else it doubles, within limits. The factor is a state of the device's optimizer, ``lossScaleUpdateFactor``.
Edge, threshold and period are the compiler's options of these names; their defaults are PopART's documented ones.
"""

from __future__ import annotations

from typing import Any

import torch

STATE = "lossScaleUpdateFactor"
ANCHOR = "finalLossScale"

_HALF_MAX = 65504.0
_MOST = 2.0**15
_LEAST = 2.0**-15


class AutomaticLossScaling:
    """Counts gradients of one update and moves the factor. Without float16 gradients the factor stays."""

    def __init__(self, popart_options: dict[str, Any]) -> None:
        def option(name: str, default: float) -> float:
            return float(popart_options.get("automaticLossScalingSettings." + name, default))

        self._edge = option("binEdgeLocation", 0.125) * _HALF_MAX
        self._threshold = option("thresholdUpperCountProportion", 1e-7)
        self._period = int(option("updatePeriod", 1))
        self._updates = 0
        self._above = 0
        self._counted = 0

    def count(self, gradients: dict[str, torch.Tensor]) -> None:
        """Count the elements of the gradients of some micro-batches."""
        for gradient in gradients.values():
            if gradient.dtype == torch.float16:
                self._above += int((gradient.abs() > self._edge).sum()) + int(gradient.isnan().sum())
                self._counted += gradient.numel()

    def update(self, factor: torch.Tensor, loss_scaling: float) -> None:
        """Move the factor in place, once a period; ``loss_scaling`` is what the factor is of."""
        self._updates += 1
        if self._updates % self._period or not self._counted:
            return
        moved = float(factor) * (0.5 if self._above > self._threshold * self._counted else 2.0)
        factor.fill_(min(max(moved, _LEAST / loss_scaling), _MOST / loss_scaling))
        self._above = self._counted = 0


def of(options: Any) -> Any:
    """The automatic loss scaling that options ask for, or None."""
    asked = options._Popart.options.get("automaticLossScalingSettings.enabled", False)
    return AutomaticLossScaling(options._Popart.options) if asked else None
