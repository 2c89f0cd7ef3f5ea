"""What holds while a model's code runs for the device: the blocks met, the losses marked, the random streams.

One ``Recording`` is active at a time and in one thread; outside of it operations such as ``identity_loss`` behave as
on a CPU.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional

import torch

from .stages import Placer


@dataclass
class Recording:
    """What the code of a model says of itself while it runs once, on one micro-batch or on several fused ones.

    ``losses`` are the tensors that ``identity_loss`` or a loss function of torch made, in order. ``streams`` are the
    random streams of the micro-batches; ``stream`` is the position of the one in use, a tensor that differs per
    micro-batch when several are fused.
    """

    placer: Placer
    streams: list[torch.Generator]
    stream: torch.Tensor
    losses: list[torch.Tensor] = field(default_factory=list)


_active: Optional[Recording] = None


def active() -> Optional[Recording]:
    """The recording of the run in progress, if any."""
    return _active


@contextlib.contextmanager
def recording(made: Recording) -> Iterator[Recording]:
    """Record one run of a model's code."""
    global _active
    previous, _active = _active, made
    try:
        yield made
    finally:
        _active = previous


def isRunningOnIpu() -> bool:
    """Whether this code runs for the (emulated) device: True within a model that poptorch runs, else False."""
    return _active is not None


class _Mask(torch.autograd.Function):
    """Ones with a probability, zeros else, from the stream of the micro-batch; fused or not, the same draws."""

    @staticmethod
    def forward(stream: torch.Tensor, shape: Any, keep: float, dtype: torch.dtype) -> torch.Tensor:
        assert _active is not None
        return _draw(_active.streams[int(stream)], shape, keep, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, stream: torch.Tensor, shape: Any, keep: float, dtype: torch.dtype) -> Any:
        assert _active is not None
        draws = [_draw(_active.streams[int(position)], shape, keep, dtype) for position in stream]
        return torch.stack(draws), 0


def _draw(generator: torch.Generator, shape: Any, keep: float, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape).bernoulli_(keep, generator=generator).to(dtype)


def keep_mask(like: torch.Tensor, keep: float) -> torch.Tensor:
    """Draw a mask of ones (with probability ``keep``) and zeros, of the shape and type of a tensor."""
    assert _active is not None
    return _Mask.apply(_active.stream, tuple(like.shape), keep, like.dtype)
