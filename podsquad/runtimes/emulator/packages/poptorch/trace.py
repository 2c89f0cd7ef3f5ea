"""Tracing: one run of a model's code on one micro-batch, from which everything about the executable is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

import torch

from .errors import compiler_error
from .graph import GraphRecorder
from .memory import DeviceMemory


@dataclass(frozen=True)
class Trace:
    """What the run showed.

    ``outputs`` is the structure that comes back; ``loss`` the position of the final loss among those marked;
    ``trained`` the weights that get gradients; ``written`` the buffers that the code writes; ``placements`` are
    (stage, phase, IPU) of the blocks in order. ``obstacle`` says why micro-batches cannot be fused, "" if they can.
    """

    digest: str
    outputs: Any
    loss: Optional[int]
    trained: tuple[str, ...]
    written: tuple[str, ...]
    placements: tuple[tuple[int, int, int], ...]
    has_half: bool
    obstacle: str

    @property
    def num_ipus(self) -> int:
        """IPUs of one replica."""
        return max((ipu for _, _, ipu in self.placements), default=0) + 1

    @property
    def num_stages(self) -> int:
        """Pipeline stages of the forward pass: one more than the changes of IPU."""
        ipus = [ipu for _, _, ipu in self.placements]
        return 1 + sum(1 for before, after in zip(ipus, ipus[1:]) if before != after)


def trace(call: Callable[..., Any], memory: DeviceMemory, tensors: list[torch.Tensor], training: bool) -> Trace:
    """Run ``call`` on the tensors of one micro-batch. Raises Error when a model to be trained has not one loss."""
    named = [("weight " + name, tensor) for name, tensor in memory.weights.items()]
    named += [("buffer " + name, tensor) for name, tensor in memory.buffers.items()]
    named += [("argument {}".format(position), tensor) for position, tensor in enumerate(tensors)]
    before = {name: (buffer._version, buffer.clone()) for name, buffer in memory.buffers.items()}
    recorder = GraphRecorder(named)
    streams = [torch.Generator()]
    with recorder, torch.set_grad_enabled(training):
        outputs, recording = call(tensors, streams, torch.tensor(0))
    written = tuple(name for name, (version, _) in before.items() if memory.buffers[name]._version != version)
    memory.write({name: before[name][1] for name in written})
    placements = tuple(recording.placer.placements)
    recorder.note("stages {}".format(placements))
    loss = _final_loss(recording.losses) if training else None
    trained: tuple[str, ...] = ()
    if loss is not None:
        trained = _trained(recording.losses[loss], memory.trainable())
    recorder.note("trained {}".format(trained))
    return Trace(
        digest=recorder.digest(),
        outputs=outputs,
        loss=loss,
        trained=trained,
        written=written,
        placements=placements,
        has_half=recorder.has_half,
        obstacle=_obstacle(recorder, written),
    )


def _obstacle(recorder: GraphRecorder, written: tuple[str, ...]) -> str:
    if written:
        return "the model writes buffers: {}".format(", ".join(written))
    if recorder.draws_random_numbers:
        return "the model draws random numbers other than by dropout"
    return ""


def _trained(loss: torch.Tensor, weights: dict[str, torch.Tensor]) -> tuple[str, ...]:
    if not loss.requires_grad or not weights:
        return ()
    total = loss if loss.dim() == 0 else loss.sum()
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return tuple(name for name, gradient in zip(weights, gradients) if gradient is not None)


def _final_loss(losses: list[torch.Tensor]) -> int:
    """The position of the loss that no other loss is made of. Raises Error when there is none or more than one."""
    if not losses:
        raise compiler_error(
            "Couldn't find a loss in graph! Wrap the final loss in poptorch.identity_loss or use a loss of torch.nn."
        )
    consumed: set[Any] = set()
    for loss in losses:
        consumed |= _ancestors(loss.grad_fn)
    final = [position for position, loss in enumerate(losses) if loss.grad_fn is None or loss.grad_fn not in consumed]
    if len(final) > 1:
        raise compiler_error(
            "Multiple independent losses found in graph. Graph must have one final loss. Wrap final graph loss in "
            "poptorch.identity_loss."
        )
    return final[0]


def _ancestors(node: Any) -> set[Any]:
    found: set[Any] = set()
    waiting = [] if node is None else [parent for parent, _ in node.next_functions]
    while waiting:
        current = waiting.pop()
        if current is not None and current not in found:
            found.add(current)
            waiting.extend(parent for parent, _ in current.next_functions)
    return found
