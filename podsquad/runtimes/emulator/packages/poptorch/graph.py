"""A model's graph, as one run of its code on one micro-batch shows it: the identity of an executable.

The identity covers operators, their constants, shapes and types, the stages, and the content of tensors that the code
makes up; not the values of weights, buffers and inputs.
"""

from __future__ import annotations

import hashlib
from typing import Any, Iterable

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class GraphRecorder(TorchDispatchMode):
    """Records the operators that run while it is active. ``inputs`` are named tensors whose values do not count."""

    def __init__(self, inputs: Iterable[tuple[str, torch.Tensor]]) -> None:
        super().__init__()
        self._hash = hashlib.sha256()
        self._names: dict[int, str] = {}
        self._kept: list[torch.Tensor] = []
        self.num_operators = 0
        self.draws_random_numbers = False
        self.has_half = False
        for name, tensor in inputs:
            self._name(tensor, name)
            self._feed("input {} {} {}".format(name, tuple(tensor.shape), tensor.dtype))

    def digest(self) -> str:
        """The identity so far, in hexadecimal."""
        return self._hash.hexdigest()

    def note(self, text: str) -> None:
        """Add what is not an operator, such as a stage."""
        self._feed(text)

    def _feed(self, text: str) -> None:
        self._hash.update(text.encode("utf-8") + b"\n")

    def _name(self, tensor: torch.Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._kept.append(tensor)  # an id is only good while its tensor lives

    def _describe(self, value: Any) -> str:
        if isinstance(value, torch.Generator):
            return "stream"
        if isinstance(value, torch.Tensor):
            self.has_half = self.has_half or value.dtype == torch.float16
            name = self._names.get(id(value))
            if name is None:
                name = "constant " + hashlib.sha256(_content(value)).hexdigest()
            return "{} {} {}".format(name, tuple(value.shape), value.dtype)
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(self._describe(item) for item in value) + "]"
        return repr(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            self.draws_random_numbers = True  # dropout alone draws from the generator of a micro-batch
        described = [self._describe(value) for value in args]
        described += ["{}={}".format(key, self._describe(value)) for key, value in sorted(kwargs.items())]
        self._feed("{}({})".format(func, ", ".join(described)))
        out = func(*args, **kwargs)
        made = out if isinstance(out, (list, tuple)) else [out]
        for position, tensor in enumerate(made):
            if isinstance(tensor, torch.Tensor):
                self._name(tensor, "%{}.{}".format(self.num_operators, position))
        self.num_operators += 1
        return out


def _content(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
