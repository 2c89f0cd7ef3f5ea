"""Blocks: the parts of a model that a strategy places on stages, phases and IPUs."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any, Callable, Optional

import torch

from . import context
from .errors import createPoptorchError


def _begin(user_id: Optional[str], ipu_id: Optional[int]) -> None:
    recording = context.active()
    if recording is not None:
        recording.placer.begin(user_id, ipu_id)


class Block(torch.nn.Module):
    """A context manager: what runs within belongs to the block."""

    def __init__(self, user_id: Optional[str] = None, ipu_id: Optional[int] = None) -> None:
        super().__init__()
        self._named = (user_id, ipu_id)

    @staticmethod
    def useAutoId() -> None:
        """Begin to number blocks without an id anew."""
        recording = context.active()
        if recording is not None:
            recording.placer.count_anew()

    @staticmethod
    def start(user_id: Optional[str] = None, ipu_id: Optional[int] = None) -> None:
        """Begin a block that ends where the next begins."""
        _begin(user_id, ipu_id)

    def __enter__(self) -> None:
        _begin(*self._named)

    def __exit__(self, *exception: object) -> None:
        pass


def BlockFunction(
    user_id: Optional[str] = None, ipu_id: Optional[int] = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function so that it is a block."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with Block(user_id, ipu_id):
                return function(*args, **kwargs)

        return wrapper

    return decorator


class _BlockHook:
    """A forward pre-hook that begins a block."""

    def __init__(self, user_id: Optional[str], ipu_id: Optional[int]) -> None:
        self._user_id = user_id
        self._ipu_id = ipu_id

    def __call__(self, module: torch.nn.Module, args: Any) -> None:
        recording = context.active()
        if recording is not None:
            if self._user_id is None:
                self._user_id = recording.placer.new_id()
            recording.placer.begin(self._user_id, self._ipu_id)

    def __repr__(self) -> str:
        return "BeginBlock(user_id={}, ipu_id={})".format(self._user_id, self._ipu_id)


class _BlockCallable(torch.nn.Module):
    """A callable that is no module, with a block around it."""

    def __init__(self, layer_to_call: Callable[..., Any], user_id: Optional[str], ipu_id: Optional[int]) -> None:
        super().__init__()
        self._layer_to_call = layer_to_call
        self._hook = _BlockHook(user_id, ipu_id)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._hook(self, args)
        return self._layer_to_call(*args, **kwargs)


def BeginBlock(layer_to_call: Any, user_id: Optional[str] = None, ipu_id: Optional[int] = None) -> Any:
    """Make a module (in place) or a callable begin a block. Raises Error for a module that already does."""
    if not isinstance(layer_to_call, torch.nn.Module):
        if callable(layer_to_call):
            return _BlockCallable(layer_to_call, user_id, ipu_id)
        raise createPoptorchError("a block begins at a module or a callable, not at {!r}".format(layer_to_call))
    if any(isinstance(hook, _BlockHook) for hook in layer_to_call._forward_pre_hooks.values()):
        raise createPoptorchError("module has already been assigned to a block.")
    layer_to_call.register_forward_pre_hook(_BlockHook(user_id, ipu_id))
    return layer_to_call


def removeBlocks(module: torch.nn.Module) -> None:
    """Take the blocks off a module and its submodules."""
    assert isinstance(module, torch.nn.Module)
    for part in module.modules():
        part._forward_pre_hooks = OrderedDict(
            (key, hook) for key, hook in part._forward_pre_hooks.items() if not isinstance(hook, _BlockHook)
        )
