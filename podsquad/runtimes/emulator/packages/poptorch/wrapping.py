"""What happens to a model that is trained: its weights look up to date though they live on the device.

The model, its weights and its buffers get classes that copy from the device first, when the device's are newer. A
shallow copy keeps the class; a deep copy and a pickle have the original one, so that they need no poptorch.
"""

from __future__ import annotations

import collections
import copy
import copyreg
import itertools
import weakref
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from .errors import createPoptorchError

_wrapper_classes: weakref.WeakSet[type] = weakref.WeakSet()
_unwrapped: Any = WeakIdKeyDictionary()


def is_wrapped(thing: Any) -> bool:
    """Whether a model, weight or buffer has such a class."""
    return type(thing) in _wrapper_classes


def _plain(thing: Any) -> None:
    if is_wrapped(thing):
        _unwrapped[thing] = type(thing)
        thing.__class__ = type(thing).__bases__[0]


def wrapped_again(thing: Any) -> None:
    """Undo the unwrapping of one model, weight or buffer."""
    wrapper = _unwrapped.get(thing)
    if wrapper is not None:
        thing.__class__ = wrapper


def _parts(model: torch.nn.Module) -> list[Any]:
    return [*itertools.chain(model.buffers(), model.parameters()), model]


def unwrapModelIfNecessary(model: torch.nn.Module) -> None:
    """Give a model, its weights and its buffers their own classes back."""
    for part in _parts(model):
        _plain(part)


def rewrapModelIfNecessary(model: torch.nn.Module) -> None:
    """Undo ``unwrapModelIfNecessary``."""
    for part in _parts(model):
        wrapped_again(part)


def executor_of(model: Any) -> Any:
    """The executor that a model is tied to; None where there is none, or none any more."""
    return type(model)._executor() if is_wrapped(model) else None


def wrap(model: torch.nn.Module, executor: Any) -> None:
    """Tie a model to the executor that trains it. Raises Error for a buffer that is no plain tensor."""
    for buffer in model.buffers():
        if type(buffer) is not torch.Tensor:
            raise createPoptorchError(
                "a model that trains has plain tensors for buffers; one of its buffers is a {}".format(type(buffer))
            )
    owner = weakref.ref(executor)

    def refresh() -> bool:
        alive = owner()
        return alive.copyWeightsToHostIfNeeded() if alive is not None else False

    parameter_class = _tensor_class(torch.nn.Parameter, "PoptorchParameter", refresh)
    buffer_class = _tensor_class(torch.Tensor, "PoptorchBuffer", refresh)
    for parameter in model.parameters():
        parameter.__class__ = parameter_class
    for buffer in model.buffers():
        buffer.__class__ = buffer_class
    model.__class__ = _model_class(type(model), owner, refresh)


def _tensor_class(base: Any, name: str, refresh: Any) -> type:
    class Wrapped(base):
        def __getattribute__(self, attribute: str) -> Any:
            if attribute not in ("__class__", "__dict__"):
                refresh()
            return super().__getattribute__(attribute)

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            refresh()
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))

        def _original(self) -> Any:
            plain = self.detach().as_subclass(torch.Tensor)
            return plain if base is torch.Tensor else torch.nn.Parameter(plain, self.requires_grad)

        def __deepcopy__(self, memo: Any) -> Any:
            if id(self) not in memo:
                original = self._original()
                memo[id(self)] = copy.deepcopy(original, {})
            return memo[id(self)]

        def __reduce_ex__(self, protocol: Any) -> Any:
            return self._original().__reduce_ex__(protocol)

    Wrapped.__name__ = Wrapped.__qualname__ = name
    _wrapper_classes.add(Wrapped)
    return Wrapped


def _model_class(base: Any, owner: Any, refresh: Any) -> type:
    class Wrapped(base):
        _executor = owner  # a weak reference: the class alone keeps no executor alive

        def copyWeightsToHostIfNeeded(self) -> bool:
            """Copy from the device if its weights are newer; whether that was so."""
            return bool(refresh())

        def destroy(self) -> None:
            """Give the device back."""
            alive = owner()
            if alive is not None:
                alive.destroy()

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            """The model's state with plain tensors, which load where poptorch is not installed."""
            refresh()
            given = super().state_dict(*args, **kwargs)
            shared: dict[int, Any] = {}
            plain = collections.OrderedDict()
            for key, value in given.items():
                if is_wrapped(value):
                    value = shared.setdefault(
                        id(value), value._original() if kwargs.get("keep_vars") else value.detach()
                    )
                plain[key] = value
            if hasattr(given, "_metadata"):
                plain._metadata = given._metadata  # type: ignore[attr-defined]
            return plain

        def __copy__(self) -> Any:
            made = base.__new__(base)
            made.__dict__.update(self.__dict__)
            made.__class__ = type(self)
            return made

        def __reduce_ex__(self, protocol: Any) -> Any:
            refresh()
            plain = base.__new__(base)
            plain.__dict__.update(self.__dict__)
            # Not the usual constructor of pickles: that one insists on the class of what is pickled.
            return copyreg._reconstructor, (base, object, None), plain.__reduce_ex__(2)[2]  # type: ignore[attr-defined]

    Wrapped.__name__ = "Poptorch" + base.__name__
    Wrapped.__qualname__ = Wrapped.__name__
    _wrapper_classes.add(Wrapped)
    return Wrapped
