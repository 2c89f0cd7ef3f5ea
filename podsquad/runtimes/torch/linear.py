"""Matrix products on the CPU by oneDNN.

torch's linear layers call MKL for float32, and MKL takes a slow path on processors that are not Intel's: on an AMD
EPYC with AVX-512 oneDNN did the products of a 128- and a 768-wide model 1.7 to 2.4 times as fast, one thread each.
The result differs in rounding alone and is the same from run to run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def use_onednn(model: nn.Module) -> int:
    """Let every plain linear layer of ``model`` run through oneDNN; return how many there are, 0 where it lacks.

    Names, shapes and the state dict stay as they are. Other dtypes than float32, autocast and other devices go the
    usual way.
    """
    if not is_available():
        return 0
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = OneDnnLinear
    return len(layers)


def is_available() -> bool:
    """Tell whether this torch has the operator; it is one of inductor's and no public promise."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class OneDnnLinear(nn.Linear):  # type: ignore[misc]
    """A linear layer whose float32 products on the CPU, forward and backward, are oneDNN's."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``; shapes as of nn.Linear."""
        plain = input.is_cpu and input.dtype == torch.float32 and self.weight.dtype == torch.float32
        if not plain or torch.is_autocast_enabled("cpu") or input.numel() == 0:
            return super().forward(input)
        product: Tensor = _Product.apply(input, self.weight, self.bias)
        return product


class _Product(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.has_bias = bias is not None
        return _multiply(input.flatten(0, -2), weight, bias).view(*input.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        to_input = _multiply(gradient, weight.t(), None).view(input.shape) if ctx.needs_input_grad[0] else None
        to_weight = _multiply(gradient.t(), input.flatten(0, -2).t(), None) if ctx.needs_input_grad[1] else None
        to_bias = gradient.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return to_input, to_weight, to_bias


def _multiply(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``left @ right.T + bias``; both may be transposed views."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return product
