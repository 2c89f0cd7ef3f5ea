"""The tensors of a model on the emulated device, and the places in the model where they go while it runs."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Optional

import torch

_BORDER = {torch.float64: torch.float32}


def to_device(tensor: torch.Tensor) -> torch.Tensor:
    """A copy as the device holds it: float64 becomes float32; integers keep their width within the emulator."""
    return tensor.detach().to(_BORDER.get(tensor.dtype, tensor.dtype), copy=True)


class DeviceMemory:
    """Weights and buffers by name. A tensor that the model holds in two places is one tensor here too.

    ``weights`` require gradients where the model's do.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        self._replicas: dict[int, dict[str, torch.Tensor]] = {}
        self._slots: list[tuple[dict[str, Any], str, str]] = []
        by_identity: dict[int, str] = {}
        for prefix, module in model.named_modules(remove_duplicate=True):
            for places, held in ((module._parameters, self.weights), (module._buffers, self.buffers)):
                for key, tensor in places.items():
                    if tensor is None:
                        continue
                    name = by_identity.setdefault(id(tensor), (prefix + "." if prefix else "") + key)
                    if name not in held:
                        held[name] = to_device(tensor).requires_grad_(tensor.requires_grad)
                    self._slots.append((places, key, name))

    @contextlib.contextmanager
    def swapped_in(self, others: Optional[dict[str, torch.Tensor]] = None, replica: int = 0) -> Iterator[None]:
        """Let the model hold the device's tensors, the buffers of a replica among them; ``others`` come first."""
        buffers = self._replicas.get(replica, self.buffers)
        saved = [(places, key, places[key]) for places, key, _ in self._slots]
        for places, key, name in self._slots:
            if others is not None and name in others:
                places[key] = others[name]
            else:
                places[key] = self.weights[name] if name in self.weights else buffers[name]
        try:
            yield
        finally:
            for places, key, tensor in saved:
                places[key] = tensor

    def give_each_replica_buffers(self, replicas: int) -> None:
        """Let each replica write buffers of its own; the first one's are those that come back to the host."""
        for replica in range(1, replicas):
            self._replicas[replica] = {name: buffer.clone() for name, buffer in self.buffers.items()}

    def trainable(self) -> dict[str, torch.Tensor]:
        """The weights that require gradients."""
        return {name: weight for name, weight in self.weights.items() if weight.requires_grad}

    @torch.no_grad()
    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        """Copy tensors of the host by name."""
        for name, tensor in tensors.items():
            target = self.weights.get(name, self.buffers.get(name))
            if target is not None:
                target.copy_(tensor)
            for buffers in self._replicas.values():
                if name in buffers:
                    buffers[name].copy_(tensor)

    @torch.no_grad()
    def read_into(self, tensors: dict[str, torch.Tensor]) -> None:
        """Copy to tensors of the host by name."""
        for name, tensor in tensors.items():
            source = self.weights.get(name, self.buffers.get(name))
            if source is not None:
                tensor.copy_(source)
