"""Arguments of a call in the order of the model's signature, and the check that later calls match the first."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Callable

import torch

from ._logging import logger
from .errors import createPoptorchError
from .structure import rebuilt, tensors_of

_MISMATCH = (
    "\nThis error occurred because the inputs passed at runtime don't match the inputs used to compile the model.\n"
    "To recompile the model for the new inputs create a new inferenceModel / trainingModel wrapper or call destroy() "
    "on the curent one and try again."
)


@dataclass
class Arguments:
    """The arguments of one call; ``names`` are those of the positional ones."""

    args: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[torch.Tensor]:
        """All tensors in order."""
        return tensors_of((self.args, self.kwargs))

    def tensors_like(self, compiled: Arguments) -> list[torch.Tensor]:
        """All tensors in the order of the compiled arguments (dictionaries may order their keys otherwise)."""
        return tensors_of((self.args, self.kwargs), (compiled.args, compiled.kwargs))

    def with_tensors(self, tensors: list[torch.Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments for a call, with other tensors."""
        made: tuple[list[Any], dict[str, Any]] = rebuilt((self.args, self.kwargs), tensors)
        return made

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Arguments:
        """These arguments with every tensor replaced."""
        args, kwargs = self.with_tensors([function(tensor) for tensor in self.tensors()])
        return Arguments(args, list(self.names), kwargs)

    def check(self, given: Arguments) -> None:
        """Raise Error unless ``given`` is like these: structure, shapes, types; of what is no tensor, the value."""
        if len(given.args) != len(self.args):
            raise createPoptorchError(
                "Number of positional arguments mismatch: expected {} arguments but got {}.{}".format(
                    len(self.args), len(given.args), _MISMATCH
                )
            )
        for name, compiled, value in zip(self.names, self.args, given.args):
            _check(name, compiled, value)
        _check("named arguments", self.kwargs, given.kwargs)


def _mismatch(what: str, name: str, expected: Any, got: Any) -> Exception:
    return createPoptorchError(
        "{} mismatch for {}: expected {} but got {}.{}".format(what, name, expected, got, _MISMATCH)
    )


def _check(name: str, compiled: Any, given: Any) -> None:
    if type(compiled) is not type(given):
        raise _mismatch("Type", name, type(compiled), type(given))
    if isinstance(compiled, torch.Tensor):
        if compiled.dtype != given.dtype:
            raise _mismatch("Data type", name, compiled.dtype, given.dtype)
        if compiled.shape != given.shape:
            raise _mismatch("Shape", name, compiled.shape, given.shape)
    elif isinstance(compiled, tuple):
        if len(compiled) != len(given):
            raise createPoptorchError(
                "Length mismatch for {}: expected {} elements but got {}.{}".format(
                    name, len(compiled), len(given), _MISMATCH
                )
            )
        for position, (expected, value) in enumerate(zip(compiled, given)):
            _check("{}[{}]".format(name, position), expected, value)
    elif isinstance(compiled, dict):
        _check_keys(name, compiled, given)
        for key, expected in compiled.items():
            _check(key if name == "named arguments" else "{}[{}]".format(name, key), expected, given[key])
    elif tensors_of(compiled):
        _check(name, tuple(tensors_of(compiled)), tuple(tensors_of(given)))
    elif compiled != given:
        raise _mismatch("Value", name, compiled, given)


def _check_keys(name: str, compiled: dict[str, Any], given: dict[str, Any]) -> None:
    extra, missing = sorted(set(given) - set(compiled)), sorted(set(compiled) - set(given))
    details = []
    if extra:
        details.append("Unexpected arguments: " + ", ".join(extra))
    if missing:
        details.append("Missing arguments: " + ", ".join(missing))
    if details:
        raise createPoptorchError("Keys mismatch for {}: {}.{}".format(name, ". ".join(details), _MISMATCH))


class ArgumentsParser:
    """Brings the arguments of a call into the order of a model's signature; defaults are filled in."""

    def __init__(self, model: Any) -> None:
        self._parameters = list(_signature(model).parameters.values())
        self._warned_of_layout = False

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Parse a call. Raises AssertionError for too many or unknown arguments, Error for a missing one."""
        kinds = [parameter.kind for parameter in self._parameters]
        names = [parameter.name for parameter in self._parameters]
        if inspect.Parameter.VAR_POSITIONAL not in kinds and inspect.Parameter.VAR_KEYWORD not in kinds:
            assert len(args) + len(kwargs) <= len(names), (
                "Too many arguments provided: expected {} ({}) but got {}".format(
                    names, len(names), len(args) + len(kwargs)
                )
            )
            for key in kwargs:
                assert key in names, "{} is not a valid parameter.Allowed values are {}".format(key, names)
        parsed = self._ordered(list(args), kwargs, names)
        return self._contiguous(parsed)

    def _ordered(self, args: list[Any], kwargs: dict[str, Any], names: list[str]) -> Arguments:
        parsed = Arguments()
        after_variadic = False
        for position, parameter in enumerate(self._parameters):
            name = parameter.name
            if parameter.kind == inspect.Parameter.VAR_KEYWORD:
                parsed.kwargs.update({key: value for key, value in kwargs.items() if key not in names[:position]})
            elif parameter.kind == inspect.Parameter.VAR_POSITIONAL:
                for index, value in enumerate(args[position:]):
                    parsed.args.append(value)
                    parsed.names.append("*{}[{}]".format(name, index))
                args = []
                after_variadic = True
            else:
                if position < len(args):
                    assert name not in kwargs, "Parameter {} was passed more than once".format(name)
                    value = args[position]
                elif name in kwargs:
                    value = kwargs[name]
                elif parameter.default is not inspect.Parameter.empty:
                    value = parameter.default
                else:
                    raise createPoptorchError("Mandatory parameter {} missing".format(name))
                if after_variadic or parameter.kind == inspect.Parameter.KEYWORD_ONLY:
                    parsed.kwargs[name] = value
                else:
                    parsed.args.append(value)
                    parsed.names.append(name)
        return parsed

    def _contiguous(self, parsed: Arguments) -> Arguments:
        if all(tensor.is_contiguous() for tensor in parsed.tensors()):
            return parsed
        if not self._warned_of_layout:
            logger.warning("an input tensor is not contiguous in memory: such tensors are copied at every call")
            self._warned_of_layout = True
        return parsed.mapped(lambda tensor: tensor.contiguous())


def _signature(model: Any) -> inspect.Signature:
    if isinstance(model, torch.nn.Module):
        return inspect.signature(model.forward)
    if not callable(model):
        raise TypeError("a model is a torch.nn.Module or a callable, not a {}".format(type(model).__name__))
    try:
        return inspect.signature(model)
    except ValueError:

        def anything(*args: Any, **kwargs: Any) -> None:
            pass

        return inspect.signature(anything)
