"""The half of an executor that keeps weights, optimizer state and random state in step between host and device."""

from __future__ import annotations

from typing import Any, Optional

import torch

from . import optimizer_settings, wrapping
from ._logging import logger, popart_logger
from .errors import createPoptorchError
from .memory import DeviceMemory
from .optim import DeviceCopy, Optimizer
from .program import Program
from .random_state import RandomState
from .updates import DeviceOptimizer

_NOT_COMPILED = "Model has not been compiled or has been destroyed."


class WeightsLink:
    """Copies between host and device: implicitly where one side is newer, explicitly on request."""

    _options: Any
    _model: Any
    _user_model: Any
    _training: bool
    _attached: bool
    _program: Optional[Program]
    _memory: Optional[DeviceMemory]
    _random: Optional[RandomState]
    _device_optimizer: Optional[DeviceOptimizer]
    _optimizer: Optional[torch.optim.Optimizer]
    _settings: Optional[optimizer_settings.OptimizerSettings]
    _tracker: optimizer_settings.AttributeTracker
    _host_is_behind: bool
    _host_version: int
    _device_random_is_newer: bool
    _cached_random: Optional[list[int]]

    def isCompiled(self) -> bool:
        """Whether there is an executable."""
        return self._program is not None

    def isAttachedToDevice(self) -> bool:
        """Whether the device is held."""
        return self._attached

    def _compiled(self) -> tuple[Program, DeviceMemory, RandomState]:
        if self._program is None or self._memory is None or self._random is None:
            raise createPoptorchError(_NOT_COMPILED)
        return self._program, self._memory, self._random

    def _host_tensors(self) -> dict[str, torch.Tensor]:
        return {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}

    def copyWeightsToHostIfNeeded(self) -> bool:
        """Copy the weights from the device if they are newer there; whether that was so."""
        was_behind = self._host_is_behind
        if was_behind:
            logger.debug("Implicit copyWeightsToHost()")
            self.copyWeightsToHost()
        return was_behind

    def copyWeightsToHost(self) -> None:
        """Copy the weights from the device. Raises Error when nothing is compiled."""
        _, memory, _ = self._compiled()
        self._host_is_behind = False
        logger.info("Writing weights from IPU to host.")
        memory.read_into(self._host_tensors())
        self._host_version += 1

    def copyWeightsToDevice(self) -> None:
        """Copy the weights to the device. Raises Error when nothing is compiled."""
        _, memory, _ = self._compiled()
        self._host_is_behind = False
        if self._optimizer is not None and self._attached:
            self._optimizer.state_dict()  # the device's state comes first: it belongs to the old weights
        logger.info("Writing weights from host to IPU memory.")
        memory.write(self._host_tensors())

    def copyNamedBuffersToDevice(self) -> None:
        """Copy the buffers that ``Options.updatableNamedBuffers`` names. Raises Error when it names none."""
        _, memory, _ = self._compiled()
        names = self._options._Popart.options.get("updatableNamedBuffers")
        if names is None:
            raise createPoptorchError("Options.updatableNamedBuffers names no buffer that may be copied")
        buffers = dict(self._model.named_buffers())
        memory.write({name: buffers[name] for name in names})

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> Any:
        """Load weights into the user's model and, when attached, the device."""
        out = self._user_model.load_state_dict(state_dict, strict)
        if self._attached:
            logger.debug("Implicit copyWeightsToDevice() after load_state_dict")
            self.copyWeightsToDevice()
        return out

    def _take_newer_weights(self) -> None:
        """An inference model follows the training model of the same user's model."""
        trained_by = wrapping.executor_of(self._user_model)
        if trained_by is None:
            return
        trained_by.copyWeightsToHostIfNeeded()
        if self._host_version != trained_by._host_version:
            logger.debug("Implicit copyWeightsToDevice()")
            self.copyWeightsToDevice()
            self._host_version = trained_by._host_version

    def setOptimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Take an optimizer, or the changed attributes of the one in use.

        Raises ValueError, AssertionError or Error for one that the device cannot do, or that differs in what the
        executable holds constant.
        """
        if self._optimizer is not None and self.isCompiled() and optimizer is not self._optimizer:
            if isinstance(self._optimizer, Optimizer):
                self._read_optimizer_state()
                self._optimizer._fetch = None
            if isinstance(optimizer, Optimizer):
                optimizer._copy.is_ahead = True
        if isinstance(optimizer, Optimizer):
            optimizer._fetch = self._read_optimizer_state  # it keeps the executor alive
        self._optimizer = optimizer
        settings = optimizer_settings.read(optimizer, self._tracker, self._options, self.isCompiled())
        changed = settings != self._settings
        self._settings = settings
        if self._attached:
            if changed:
                self._update_device_optimizer()
            self._write_optimizer_state()

    def _update_device_optimizer(self) -> None:
        if self._device_optimizer is None or self._settings is None:
            return
        for part, text in optimizer_settings.describe(self._settings):
            logger.debug("Updating %s optimizer with %s", part, text)
        self._device_optimizer.take(self._settings)

    def _read_optimizer_state(self) -> None:
        """Bring the optimizer's state to the host if it is newer on the device."""
        optimizer, held = self._optimizer, self._device_optimizer
        if not isinstance(optimizer, Optimizer):
            return
        if held is None or not optimizer._copy.is_behind:
            logger.debug("Using cached optimiser state dict")
            return
        logger.info("Writing optimiser state tensors from IPU to host.")
        parts = [{name: tensor.clone() for name, tensor in part.items()} for part in (held.states, held.variables)]
        optimizer._copy = DeviceCopy(*parts)
        optimizer._copy.is_ahead = False

    def _write_optimizer_state(self) -> None:
        """Bring the optimizer's state to the device if it is newer on the host; what it lacks stays as it is."""
        optimizer, held = self._optimizer, self._device_optimizer
        if held is None or not isinstance(optimizer, Optimizer) or not optimizer._copy.is_ahead:
            return
        if optimizer._copy.is_filled:
            self.copyWeightsToHostIfNeeded()
            logger.info("Writing optimiser state tensors from host to IPU memory.")
            held.load(optimizer._copy.state, optimizer._copy.attributes)
        optimizer._copy.is_ahead = False

    @property
    def rng_state(self) -> Optional[list[int]]:
        """The device's random state, as numbers; None before the first run without a seed. Settable."""
        _, _, random = self._compiled()
        if self._device_random_is_newer:
            logger.debug("Reading random seed")
            logger.debug("Reading RNG state")
            self._device_random_is_newer = False
            self._cached_random = random.read()
        return self._cached_random

    @rng_state.setter
    def rng_state(self, state: list[int]) -> None:
        self._compiled()
        self._device_random_is_newer = False
        self._cached_random = list(state)
        if self._attached:
            self._write_random_state()

    def _write_random_state(self) -> None:
        _, _, random = self._compiled()
        assert self._cached_random is not None
        logger.debug("Setting random seed to: %d", self._cached_random[0])
        if len(self._cached_random) > 1:
            logger.debug("Setting RNG state")
        random.write(self._cached_random)

    def _on_attach(self) -> None:
        """Bring everything to the device that was just attached."""
        self.copyWeightsToDevice()
        self._update_device_optimizer()
        optimizer = self._optimizer
        if isinstance(optimizer, Optimizer):
            optimizer._copy.is_ahead = optimizer._copy.is_filled
            optimizer._copy.is_behind = optimizer._copy.is_behind or not optimizer._copy.is_filled
            self._write_optimizer_state()
        if self._cached_random is not None:
            self._write_random_state()

    def _before_detach(self) -> None:
        """Bring everything to the host."""
        _ = self.rng_state
        if self._training:
            self.copyWeightsToHostIfNeeded()
            self._read_optimizer_state()
        popart_logger.debug("emulated device released")
