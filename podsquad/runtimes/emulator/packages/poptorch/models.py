"""``trainingModel``, ``inferenceModel``, ``load`` and the hooks around compiling."""

from __future__ import annotations

import copy
from typing import Any, Callable, Optional

import torch

from . import archive, enums, wrapping
from ._poplar_executor import PoplarExecutor
from .options import Options
from .version import __version__


def trainingModel(
    model: Any, options: Optional[Options] = None, optimizer: Optional[torch.optim.Optimizer] = None
) -> PoplarExecutor:
    """Make a model that trains: every call makes updates. Raises RuntimeError for one that already does."""
    if isinstance(model, PoplarExecutor):
        model = model._user_model
    if wrapping.is_wrapped(model):
        raise RuntimeError(
            "Model has already been wrapped in 'poptorch.trainingModel'. Call model.destroy() on the model to unwrap "
            "before wrapping again."
        )
    return PoplarExecutor(copy.copy(model), options, True, __version__, optimizer, model)


def inferenceModel(model: Any, options: Optional[Options] = None) -> PoplarExecutor:
    """Make a model that only answers; it follows a training model of the same user's model."""
    if isinstance(model, PoplarExecutor):
        model = model._user_model
    return PoplarExecutor(copy.copy(model), options, False, __version__)


def load(filename: str, edit_opts_fn: Optional[Callable[[Options], None]] = None) -> PoplarExecutor:
    """Restore a model and its executable from a file that ``save`` made. Unpickles: only load files that you made.

    Raises AssertionError when the file holds no model.
    """
    exported = archive.read_model(filename)
    assert exported is not None, (
        "{} holds an executable without its model (export_model=False): make the model by trainingModel or "
        "inferenceModel and call its loadExecutable".format(filename)
    )
    options: Options = exported.options
    options.forget("ipu_version")
    if options.connection_type == enums.ConnectionType.Never.value:
        options.connectionType(enums.ConnectionType.Always)
    if edit_opts_fn is not None:
        edit_opts_fn(options)
    if exported.optimizer is not None and exported.optimizer_state is not None:
        exported.optimizer.load_state_dict(exported.optimizer_state)
    if exported.training:
        executor = trainingModel(exported.model, options, exported.optimizer)
    else:
        executor = inferenceModel(exported.model, options)
    executor.loadExecutable(filename)
    if exported.rng_state is not None:
        executor.rng_state = exported.rng_state
    return executor


def _register(hooks: dict[int, Callable[[], Any]], hook: Callable[[], Any], name: str) -> Any:
    if not callable(hook):
        raise RuntimeError("{} hook must be callable".format(name))
    handle = torch.utils.hooks.RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def registerPreCompileHook(hook: Callable[[], Any]) -> Any:
    """Call something before each compilation, until the handle is removed. Raises RuntimeError if not callable."""
    return _register(PoplarExecutor._precompile_hooks, hook, "Pre-compile")


def registerPostCompileHook(hook: Callable[[], Any]) -> Any:
    """Call something after each compilation, until the handle is removed. Raises RuntimeError if not callable."""
    return _register(PoplarExecutor._postcompile_hooks, hook, "Post-compile")
