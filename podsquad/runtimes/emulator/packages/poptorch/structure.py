"""Nested inputs and outputs: take the tensors out in order, put others in their place."""

from __future__ import annotations

import abc
from typing import Any, Callable, Iterable, Iterator, Optional, Type

import torch

from .errors import createPoptorchError


class ICustomArgParser(abc.ABC):
    """How a class of the user's own gives its tensors and takes others."""

    @abc.abstractmethod
    def reconstruct(self, original_structure: Any, tensor_iterator: Iterator[torch.Tensor]) -> Any:
        """Make a structure like the original, with the iterator's tensors."""

    @abc.abstractmethod
    def yieldTensors(self, struct: Any) -> Iterator[torch.Tensor]:
        """Yield every tensor, always in the same order."""


_custom_parsers: dict[type, ICustomArgParser] = {}


def registerCustomArgParser(arg_data_type: Type[Any], arg_parser: Optional[ICustomArgParser]) -> None:
    """Register a parser for a class of inputs; None takes it away."""
    if arg_parser is None:
        _custom_parsers.pop(arg_data_type, None)
    elif not isinstance(arg_parser, ICustomArgParser):
        raise createPoptorchError("{!r} does not derive from poptorch.ICustomArgParser".format(arg_parser))
    else:
        _custom_parsers[arg_data_type] = arg_parser


def _parser_of(value: Any) -> Optional[ICustomArgParser]:
    for kind, parser in _custom_parsers.items():
        if isinstance(value, kind):
            return parser
    return None


def tensors_of(value: Any, canonical: Any = None) -> list[torch.Tensor]:
    """The tensors within dictionaries, lists, tuples and registered classes, in order.

    ``canonical`` is a structure whose order of keys counts where dictionaries hold the same keys in another order.
    """
    found: list[torch.Tensor] = []

    def walk(item: Any, model: Any) -> None:
        if isinstance(item, torch.Tensor):
            found.append(item)
            return
        parser = _parser_of(item) if _custom_parsers else None
        if parser is not None:
            found.extend(parser.yieldTensors(item))
        elif isinstance(item, dict):
            for key in item if model is None else model:
                walk(item[key], None if model is None else model[key])
        elif isinstance(item, (list, tuple)):
            for position, element in enumerate(item):
                walk(element, None if model is None else model[position])

    walk(value, canonical)
    return found


def rebuilt(
    structure: Any, tensors: Iterable[torch.Tensor], replaced: Callable[[torch.Tensor], bool] = lambda _: True
) -> Any:
    """A structure like the given one, whose tensors (those that ``replaced`` accepts) are the given ones, in order."""
    supply = iter(tensors)

    def build(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            return next(supply) if replaced(item) else item
        parser = _parser_of(item) if _custom_parsers else None
        if parser is not None:
            return parser.reconstruct(item, supply)
        if isinstance(item, dict):
            return type(item)({key: build(value) for key, value in item.items()})
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            return type(item)(*[build(element) for element in item])
        if isinstance(item, (list, tuple)):
            return type(item)([build(element) for element in item])
        return item

    return build(structure)
