"""Running a model's code on many micro-batches: one by one, or fused into one run.

Both take inputs whose first dimension is the micro-batch, give outputs with that dimension, and gradients either
summed over micro-batches or one each. A fused run maps the code over the micro-batches (``torch.vmap``), so every
operation is applied per micro-batch as written: losses, means and masks are those of the single run, and only the
order of float32 sums within products differs. It is used when tracing proved that nothing else couples the
micro-batches: no buffer is written and no random number is drawn but by dropout, which draws per micro-batch.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch

from .structure import tensors_of

# (inputs, streams, stream in use, weights in place of the device's or None) -> outputs, recording
Call = Callable[..., Any]


class Runner:
    """Runs ``call`` on micro-batches. ``loss`` is the position of the final loss; ``weights`` get gradients."""

    def __init__(self, call: Call, loss: Optional[int], weights: dict[str, torch.Tensor]) -> None:
        self._call = call
        self._loss = loss
        self._weights = weights

    def outputs(self, inputs: list[torch.Tensor], streams: list[torch.Generator]) -> list[torch.Tensor]:
        """Outputs without gradients, micro-batch first."""
        raise NotImplementedError

    def gradients(
        self, inputs: list[torch.Tensor], streams: list[torch.Generator], loss_scaling: float, each: bool
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Outputs, and gradients of the scaled loss: per micro-batch (``each``) or summed, without micro-batch."""
        raise NotImplementedError


def _scaled(loss: torch.Tensor, loss_scaling: float) -> torch.Tensor:
    """The loss as differentiation starts from it: elements of an unreduced loss count one each."""
    return (loss if loss.dim() == 0 else loss.sum()).float() * loss_scaling


class OneByOne(Runner):
    """The oracle: one run of the code per micro-batch."""

    def outputs(self, inputs: list[torch.Tensor], streams: list[torch.Generator]) -> list[torch.Tensor]:
        rows = []
        for position in range(len(streams)):
            made, _ = self._call([t[position] for t in inputs], streams, torch.tensor(position))
            rows.append(tensors_of(made))
        return [torch.stack(column) for column in zip(*rows)]

    def gradients(
        self, inputs: list[torch.Tensor], streams: list[torch.Generator], loss_scaling: float, each: bool
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        assert self._loss is not None
        rows, found = [], []
        for position in range(len(streams)):
            made, recording = self._call([t[position] for t in inputs], streams, torch.tensor(position))
            loss = _scaled(recording.losses[self._loss], loss_scaling)
            found.append(torch.autograd.grad(loss, list(self._weights.values())) if self._weights else ())
            rows.append([tensor.detach() for tensor in tensors_of(made)])
        columns = [torch.stack(column) for column in zip(*rows)]
        gradients = {name: torch.stack(parts) for name, parts in zip(self._weights, zip(*found))}
        return columns, gradients if each else {name: parts.sum(0) for name, parts in gradients.items()}


class Fused(Runner):
    """One run of the code for all micro-batches given."""

    def outputs(self, inputs: list[torch.Tensor], streams: list[torch.Generator]) -> list[torch.Tensor]:
        def run(stream: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made, _ = self._call(list(tensors), streams, stream)
            return tuple(tensors_of(made))

        return list(_mapped(run)(torch.arange(len(streams)), *inputs))

    def gradients(
        self, inputs: list[torch.Tensor], streams: list[torch.Generator], loss_scaling: float, each: bool
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        return self._each(inputs, streams, loss_scaling) if each else self._sum(inputs, streams, loss_scaling)

    def _sum(
        self, inputs: list[torch.Tensor], streams: list[torch.Generator], loss_scaling: float
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        def run(stream: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made, recording = self._call(list(tensors), streams, stream)
            assert self._loss is not None
            return (_scaled(recording.losses[self._loss], loss_scaling), *tensors_of(made))

        losses, *outputs = _mapped(run)(torch.arange(len(streams)), *inputs)
        found = torch.autograd.grad(losses.sum(), list(self._weights.values()))
        return [tensor.detach() for tensor in outputs], dict(zip(self._weights, found))

    def _each(
        self, inputs: list[torch.Tensor], streams: list[torch.Generator], loss_scaling: float
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        def loss_of(
            weights: dict[str, torch.Tensor], stream: torch.Tensor, tensors: tuple[torch.Tensor, ...]
        ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
            made, recording = self._call(list(tensors), streams, stream, weights)
            assert self._loss is not None
            return _scaled(recording.losses[self._loss], loss_scaling), tuple(tensors_of(made))

        gradient_of = torch.func.grad(loss_of, has_aux=True)
        mapped = torch.func.vmap(gradient_of, in_dims=(None, 0, 0), randomness="error")
        weights = {name: weight.detach() for name, weight in self._weights.items()}
        gradients, outputs = mapped(weights, torch.arange(len(streams)), tuple(inputs))
        return [tensor.detach() for tensor in outputs], gradients


def _mapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.func.vmap(function, randomness="error")
