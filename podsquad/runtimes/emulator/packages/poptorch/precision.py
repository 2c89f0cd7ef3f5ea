"""Number formats of the device on a CPU: float16 storage, float32 arithmetic, one rounding after an operation.

Products, normalizations and softmax of float16 tensors are computed in float32 and rounded once, which is what an IPU
gives but for the order of its sums, and much faster than a CPU's float16. Element-wise functions are computed so by
torch itself. Rounding is to nearest, except where ``StochasticRounding`` is used: weights, accumulators, momenta.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

_IN_FLOAT32 = frozenset(
    [
        aten.mm.default,
        aten.addmm.default,
        aten.bmm.default,
        aten.baddbmm.default,
        aten.convolution.default,
        aten.convolution_backward.default,
        aten._softmax.default,
        aten._log_softmax.default,
    ]
)


class HalfInFloat32(TorchDispatchMode):
    """Computes the costly operations on float16 tensors in float32, and rounds their results."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(_is_half(value) for value in args):
            return func(*args, **kwargs)
        if func in _IN_FLOAT32 or func in _lacking:
            return _in_float32(func, args, kwargs)
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            # torch before 2.1 or so has few float16 operations on a CPU.
            if "not implemented for 'Half'" not in str(error) or func._schema.is_mutable:
                raise
            _lacking.add(func)
            return _in_float32(func, args, kwargs)


_lacking: set[Any] = set()


def _in_float32(func: Any, args: Any, kwargs: Any) -> Any:
    out = func(*[_raised(value) for value in args], **kwargs)
    if isinstance(out, torch.Tensor):
        return _rounded(out)
    return tuple(_rounded(tensor) if isinstance(tensor, torch.Tensor) else tensor for tensor in out)


def _raised(value: Any) -> Any:
    if value is torch.float16:  # the type that a softmax's gradient is of
        return torch.float32
    return value.float() if _is_half(value) else value


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.dtype == torch.float32 else tensor


def _is_half(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float16


def to_nearest(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round to the nearest value of a type, ties to even."""
    return tensor.to(dtype)


class StochasticRounding:
    """Rounds float32 to float16 up or down by chance, in proportion to the distance: right on average.

    Draws from a stream of its own. Values beyond float16 become infinite.
    """

    # A float16 has 10 bits of fraction, a float32 has 23; below 2**-14 a float16's steps are 2**-24.
    _SPARE_BITS = 13
    _SMALLEST_NORMAL = 2.0**-14
    _STEP_BELOW = 2.0**-24

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Round to ``dtype``; what is no float16 is rounded to nearest."""
        if dtype != torch.float16 or tensor.dtype == torch.float16:
            return tensor.to(dtype)
        spare = 1 << self._SPARE_BITS
        chance = torch.empty(tensor.shape, dtype=torch.int32).random_(0, spare, generator=self._generator)
        bits = tensor.contiguous().view(torch.int32)
        normal = ((bits + chance) & -spare).view(torch.float32)
        small = tensor.abs() < self._SMALLEST_NORMAL
        if bool(small.any()):
            steps = torch.floor(tensor / self._STEP_BELOW + chance / float(spare))
            normal = torch.where(small, steps * self._STEP_BELOW, normal)
        return torch.where(tensor.isfinite(), normal, tensor).half()
