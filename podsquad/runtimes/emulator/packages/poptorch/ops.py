"""poptorch's own operations. What only steers the compiler returns its tensor; what computes, computes with torch."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Optional, Union

import torch

from . import context
from .enums import MatMulSerializationMode, OverlapMode
from .errors import createPoptorchError
from .option_kit import need
from .structure import rebuilt, tensors_of


def _need_tensor(what: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise createPoptorchError("{} must be a tensor, not a {}".format(what, type(value).__name__))


def _need_whole(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, int):
            raise createPoptorchError("{} must be a whole number, not {!r}".format(name, value))


def identity_loss(x: torch.Tensor, reduction: str) -> torch.Tensor:
    """Mark a tensor as the loss, reduced by "sum" or "mean" over all elements, or by "none"."""
    if reduction == "sum":
        out = x.sum()
    elif reduction == "mean":
        out = x.mean()
    else:
        assert reduction == "none", "identity_loss reduces by sum, mean or none, not by {!r}".format(reduction)
        out = x.view_as(x)
    recording = context.active()
    if recording is not None:
        recording.losses.append(out)
    return out


def nop(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor. Raises Error for anything else."""
    _need_tensor("the argument of nop", tensor)
    return tensor.view_as(tensor)


def ipu_print_tensor(
    tensor: torch.Tensor,
    title: str = "",
    print_gradient: bool = True,
    summarise_threshold: int = 1000,
    edge_items: int = 3,
    max_line_width: int = 80,
    digits: int = 4,
    float_format: str = "auto",
    separator: str = ", ",
    open_bracket: str = "(",
    close_bracket: str = ")",
) -> torch.Tensor:
    """Return the tensor; the emulator does not print it."""
    _need_tensor("what ipu_print_tensor prints", tensor)
    assert float_format in ("auto", "fixed", "scientific", "none")
    return tensor.view_as(tensor)


def recomputationCheckpoint(*tensors: Any) -> Any:
    """Mark tensors that are kept rather than computed again; of no effect on numbers. Raises ValueError for others."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return type(tensors[0])(recomputationCheckpoint(tensor) for tensor in tensors[0])
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ValueError("recomputationCheckpoint marks tensors, or one list or tuple of them")
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def serializedMatMul(
    lhs: torch.Tensor,
    rhs: torch.Tensor,
    mode: MatMulSerializationMode,
    factor: int = 0,
    keep_precision: bool = False,
) -> torch.Tensor:
    """The product of two tensors; on an IPU it is computed in parts along a dimension."""
    assert isinstance(keep_precision, bool)
    assert isinstance(factor, int)
    assert isinstance(mode, MatMulSerializationMode)
    return torch.matmul(lhs, rhs)


def set_available_memory(tensor: torch.Tensor, available_memory_proportion: float) -> torch.Tensor:
    """Limit the temporary memory of the operation that made the tensor; of no effect on numbers."""
    _need_tensor("what set_available_memory steers", tensor)
    return tensor


def set_overlap_for_input(input_tensors: Any, mode: OverlapMode) -> Any:
    """Let an input's transfer overlap with computing; of no effect on numbers."""
    return _overlap(input_tensors, mode)


def set_overlap_for_output(output_tensors: Any, mode: OverlapMode) -> Any:
    """Let an output's transfer overlap with computing; of no effect on numbers."""
    return _overlap(output_tensors, mode)


def _overlap(structure: Any, mode: OverlapMode) -> Any:
    assert isinstance(mode, OverlapMode)
    return rebuilt(structure, tensors_of(structure))


def for_loop(count: int, body: Callable[..., Any], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Apply ``body`` to the tensors ``count`` times. Raises ValueError for what is no list of tensors."""
    if not isinstance(inputs, list) or not all(isinstance(tensor, torch.Tensor) for tensor in inputs):
        raise ValueError("for_loop works on a list of tensors, not on {!r}".format(inputs))
    values = [tensor.clone() for tensor in inputs]
    for _ in range(count):
        values = _as_list(body(*values))
    return values


def cond(
    condition: torch.Tensor,
    then_body: Callable[..., Any],
    then_inps: list[torch.Tensor],
    else_body: Callable[..., Any],
    else_inps: list[torch.Tensor],
) -> list[torch.Tensor]:
    """Apply one of two bodies. Raises ValueError when the inputs are no lists."""
    if not isinstance(then_inps, list) or not isinstance(else_inps, list):
        raise ValueError("cond gives each of its bodies a list of tensors: then_inps and else_inps must be lists")
    return _as_list(then_body(*then_inps) if condition else else_body(*else_inps))


def _as_list(values: Any) -> list[torch.Tensor]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def dynamic_slice(tensor: torch.Tensor, dim: int, start: torch.Tensor, size: int, step: int) -> torch.Tensor:
    """``size`` elements of a dimension, from a start that is a tensor."""
    _need_tensor("the input of dynamic_slice", tensor)
    _need_tensor("the start of dynamic_slice", start)
    _need_whole(dim=dim, size=size, step=step)
    positions = start.reshape(()).long() + torch.arange(0, size, step)
    return tensor.index_select(dim, positions)


def dynamic_update(input: torch.Tensor, src: torch.Tensor, dim: int, start: torch.Tensor, size: int) -> torch.Tensor:
    """``input`` with ``size`` elements of a dimension replaced by ``src``."""
    for what, tensor in (("input", input), ("src", src), ("start", start)):
        _need_tensor("the {} of dynamic_update".format(what), tensor)
    _need_whole(dim=dim, size=size)
    if input.dim() != src.dim():
        raise createPoptorchError(
            "input and src tensors must have same dimensionality. ({}) vs ({})".format(input.dim(), src.dim())
        )
    if input.dtype != src.dtype:
        raise createPoptorchError(
            "input and src tensor must have same dtype. ({} vs {})".format(input.dtype, src.dtype)
        )
    return input.index_copy(dim, start.reshape(()).long() + torch.arange(size), src)


def custom_op(
    inputs: Any,
    name: str,
    domain: str,
    domain_version: int,
    example_outputs: Any,
    attributes: Optional[dict[str, Union[float, int, str, list[Any], tuple[Any, ...]]]] = None,
) -> list[torch.Tensor]:
    """Refuse: an operation that is compiled for an IPU cannot run here."""
    raise createPoptorchError(
        "the custom operation {}.{}:{} is code for an IPU, which the emulator cannot run".format(
            domain, name, domain_version
        )
    )


class Attribute(contextlib.nullcontext):  # type: ignore[type-arg]
    """Attach attributes to the operations that run within; of no effect on numbers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()


class NameScope(contextlib.nullcontext):  # type: ignore[type-arg]
    """Name what runs within; of no effect on numbers."""

    def __init__(self, name: str) -> None:
        need("NameScope", name, str)
        super().__init__()
        self.name = name


class CPU:
    """Run a layer on the host within a model: here everything does."""

    def __init__(self, layer_to_call: Callable[..., Any], ID: str) -> None:
        self._layer_to_call = layer_to_call
        self._id = ID
        if isinstance(layer_to_call, torch.nn.Module):
            layer_to_call.requires_grad_(False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._layer_to_call(*args, **kwargs)
