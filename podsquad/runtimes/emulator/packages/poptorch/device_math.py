"""How torch's functions behave within a model on the device, where that differs from a CPU.

Operands of mixed float16 and float32 are upcast, also by products and normalizations that torch refuses them to.
Dropout draws from the stream of its micro-batch. Loss functions of torch mark their results as losses.
"""

from __future__ import annotations

from typing import Any, Callable

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from . import context

_LOSSES = frozenset(
    getattr(F, name)
    for name in (
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cosine_embedding_loss",
        "cross_entropy",
        "ctc_loss",
        "gaussian_nll_loss",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "nll_loss",
        "poisson_nll_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
        "triplet_margin_loss",
        "triplet_margin_with_distance_loss",
    )
)

# torch promotes the operands of element-wise functions itself; these it does not.
_UPCAST = frozenset(
    [
        torch.addbmm,
        torch.addmm,
        torch.addmv,
        torch.baddbmm,
        torch.bmm,
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        torch.dot,
        torch.einsum,
        torch.matmul,
        torch.mm,
        torch.mv,
        torch.prelu,
        torch.Tensor.__matmul__,
        torch.Tensor.__rmatmul__,
        torch.Tensor.bmm,
        torch.Tensor.matmul,
        torch.Tensor.mm,
        F.batch_norm,
        F.bilinear,
        F.group_norm,
        F.instance_norm,
        F.layer_norm,
        F.linear,
        F.scaled_dot_product_attention,
    ]
)


class DeviceMath(TorchFunctionMode):
    """Active while a model's code runs for the device."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        if func in _UPCAST:
            return func(*_upcast(args), **kwargs)
        if func in _LOSSES:
            return _loss(func, args, kwargs)
        return func(*args, **kwargs)


def _upcast(args: Any) -> Any:
    dtypes = {value.dtype for value in _tensors(args) if value.is_floating_point()}
    if torch.float16 not in dtypes or torch.float32 not in dtypes:
        return args
    return [
        value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.float16 else value for value in args
    ]


def _tensors(values: Any) -> Any:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value


def _loss(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    out = func(*_upcast(args), **kwargs)
    recording = context.active()
    if recording is not None and out.dim() == 0:
        recording.losses.append(out)
    return out


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    if not training or p == 0.0:
        return input
    out = input * (context.keep_mask(input, 1.0 - p) / (1.0 - p)) if p < 1.0 else input * 0.0
    return input.copy_(out) if inplace else out
