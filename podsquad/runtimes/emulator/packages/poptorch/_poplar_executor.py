"""``PoplarExecutor``: a model on the device, called like the model itself."""

from __future__ import annotations

import collections
import datetime
from typing import Any, Callable, ClassVar, Optional

import torch

from . import (
    archive,
    checks,
    enums,
    executable_cache,
    loss_scaling,
    machine,
    optimizer_settings,
    option_names,
    wrapping,
)
from ._logging import logger
from .arguments import Arguments, ArgumentsParser
from .errors import createPoptorchError
from .memory import DeviceMemory
from .optim import Optimizer
from .options import Options
from .program import Program
from .random_state import RandomState
from .stages import PipelinedExecution
from .structure import tensors_of
from .updates import DeviceOptimizer
from .weights_link import WeightsLink

_PROGRESS_STEPS = 100


class PoplarExecutor(WeightsLink):
    """Made by ``inferenceModel`` and ``trainingModel``: compiles at the first call, then runs what was compiled."""

    _precompile_hooks: ClassVar[dict[int, Callable[[], Any]]] = collections.OrderedDict()
    _postcompile_hooks: ClassVar[dict[int, Callable[[], Any]]] = collections.OrderedDict()

    def __init__(
        self,
        model: Any,
        options: Optional[Options],
        training: bool,
        poptorch_version: str,
        optimizer: Optional[torch.optim.Optimizer] = None,
        user_model: Any = None,
    ) -> None:
        if options is not None and not isinstance(options, Options):
            raise createPoptorchError("options must be a poptorch.Options, not a {}".format(type(options).__name__))
        if options is not None:
            options.seal()
        self._options = options.clone() if options is not None else Options()
        self._model = model
        self._user_model = user_model if user_model is not None else model
        self._training = training
        self._version = poptorch_version
        self._parse = ArgumentsParser(model)
        self._program = self._memory = self._device_optimizer = self._random = None
        self._executable_inputs: Optional[Arguments] = None
        self._attached = False
        self._host_is_behind = False
        self._host_version = 0
        self._device_random_is_newer = False
        seed = self._options.chosen("random_seed")
        self._cached_random = None if seed is None else [seed]
        self._optimizer = None
        self._settings = None
        self._tracker = optimizer_settings.AttributeTracker(self._options._host["relax"])
        self._choose_output_mode()
        if training:
            self.setOptimizer(optimizer or torch.optim.SGD(self._user_model.parameters(), lr=0.01))
        self._options.seal()
        if training:
            wrapping.wrap(self._user_model, self)

    def _choose_output_mode(self) -> None:
        if self._options.defaultOutputMode():
            self._options.outputMode(enums.OutputMode.Final if self._training else enums.OutputMode.All)
        if not self._training and self._options.Training.gradient_accumulation != 1:
            pipelined = self._options._execution_strategy.mode == PipelinedExecution.mode
            raise createPoptorchError(
                "You must set poptorch.Options().Training.gradientAccumulation to 1 or leave it as its default value "
                "(1) when running a poptorch.inferenceModel()."
                + (
                    " Use poptorch.Options().deviceIterations to process a sufficient number of batches each run for "
                    "pipelined execution instead."
                    if pipelined
                    else ""
                )
            )

    model = property(lambda self: self._user_model, doc="The user's model.")
    options = property(lambda self: self._options, doc="The options in use, sealed.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_user_model" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.__dict__["_user_model"], name)

    def __repr__(self) -> str:
        return repr(self._user_model)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile for the shapes of these arguments; with an offline target that is all a model can do."""
        arguments = self._parse(args, kwargs)
        if self.isCompiled():
            logger.warning("compile() does nothing: there is an executable; destroy() the model to compile anew")
            return
        self._compile(arguments)

    def _compile(self, arguments: Arguments) -> None:
        started = datetime.datetime.now()
        option_names.validate(self._options.toDict())
        if self._options.chosen("use_model") is not None:
            enabled = "Enabled" if self._options.use_model else "Disabled"
            logger.info("From the user configuration: Ipu model: %s", enabled)
        checks.check_supported(self._options, self._training)
        for hook in self._precompile_hooks.values():
            hook()
        try:
            self._make_program(arguments)
        finally:
            for hook in self._postcompile_hooks.values():
                hook()
        self._report_progress(started)
        if self._options.connection_type != enums.ConnectionType.Never:
            self._attach()

    def _make_program(self, arguments: Arguments) -> None:
        memory = DeviceMemory(self._model)
        self._executable_inputs = arguments
        program = Program(self._model, memory, self._options, self._training, arguments)
        checks.check_pipeline(program.trace, program.layout, self._options, self._training)
        checks.num_ipus_reserved(program.trace, self._options)
        if self._settings is not None:
            self._device_optimizer = DeviceOptimizer(self._settings, self._groups(), memory.trainable())
            if loss_scaling.of(self._options) is not None:
                self._device_optimizer.scale_automatically()
        executable_cache.visit(program.trace.digest, self._settings, self._options, self._version)
        seed = self._cached_random[0] if self._cached_random else None
        self._program, self._memory, self._random = program, memory, RandomState(seed)

    def _report_progress(self, started: datetime.datetime) -> None:
        if self._options._host["show"]:
            bar = self._options._progress
            bar(0, _PROGRESS_STEPS)
            bar(_PROGRESS_STEPS, _PROGRESS_STEPS)
            bar.compilation_time = datetime.datetime.now() - started

    def _groups(self) -> dict[str, int]:
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        assert self._optimizer is not None
        return {
            names[id(parameter)]: number
            for number, group in enumerate(self._optimizer.param_groups)
            for parameter in group["params"]
            if id(parameter) in names and parameter.requires_grad
        }

    def _attach(self) -> None:
        program, _, _ = self._compiled()
        machine.attach(self, checks.num_ipus_reserved(program.trace, self._options))
        self._attached = True
        self._on_attach()

    def attachToDevice(self) -> None:
        """Take the device again. Raises Error when it is held already or nothing is compiled."""
        self._compiled()
        assert self._options.connection_type != enums.ConnectionType.Never, (
            "an offline target (ConnectionType.Never) has no device to attach to"
        )
        if self._attached:
            raise createPoptorchError("attachToDevice: this model holds its device already")
        self._attach()

    def detachFromDevice(self) -> None:
        """Give the device back; weights, optimizer state and random state come to the host first."""
        self._compiled()
        if not self._attached:
            raise createPoptorchError("Device is not attached")
        self._before_detach()
        machine.detach(self)
        logger.debug("Detached from device 0")
        self._attached = False

    def destroy(self) -> None:
        """Give the device and the executable back; the model is the user's own again."""
        if not self.isCompiled():
            return
        if self._training and self._attached:
            self.copyWeightsToHostIfNeeded()
            assert self._optimizer is not None
            self._optimizer.state_dict()
        machine.detach(self)
        self._program = self._memory = self._device_optimizer = None
        self._attached = False
        if self._training:
            if not wrapping.is_wrapped(self._user_model):
                raise createPoptorchError("the model has lost its tie to this executor: was it given to another?")
            wrapping.unwrapModelIfNecessary(self._user_model)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model on a combined batch; see ``batching.py`` for its layout."""
        assert self._options.connection_type != enums.ConnectionType.Never, (
            "Trying to run a model on an offline device: with ConnectionType.Never a model can only be compiled"
        )
        arguments = self._parse(args, kwargs)
        if not self.isCompiled():
            self._compile(arguments)
        if not self._attached:
            self.attachToDevice()
        program, _, random = self._compiled()
        assert self._executable_inputs is not None
        self._executable_inputs.check(arguments)
        tensors = arguments.tensors_like(self._executable_inputs)
        if self._training:
            self._write_optimizer_state()
            assert self._device_optimizer is not None
            outputs = program.train(tensors, random, self._device_optimizer)
            self._host_is_behind = True
            if isinstance(self._optimizer, Optimizer):
                self._optimizer._copy.is_behind = True
        else:
            self._take_newer_weights()
            outputs = program.infer(tensors, random)
        self._device_random_is_newer = True
        for tensor in tensors_of(outputs):
            tensor.backward = _refuse_backward
        return outputs

    def save(self, filename: str, export_model: bool = True, save_rng_state: bool = True) -> None:
        """Write the executable, and by default the model, to a file. Raises Error when nothing is compiled."""
        program, _, _ = self._compiled()
        path = archive.path_for(filename)
        exported = None
        if export_model:
            state = None if self._optimizer is None else self._optimizer.state_dict()
            rng_state = self.rng_state if save_rng_state else None
            options = self._options.clone()
            exported = archive.Exported(self.model, options, self._training, self._optimizer, state, rng_state)
        assert self._executable_inputs is not None
        archive.write(path, self._version, program.trace.digest, self._executable_inputs, exported)

    def compileAndExport(self, filename: str, *args: Any, export_model: bool = True, **kwargs: Any) -> None:
        """Compile and ``save``."""
        self.compile(*args, **kwargs)
        self.save(filename, export_model)

    def loadExecutable(self, filename: str) -> None:
        """Take an executable from a file. Raises Error when the file is another's or this model has another graph."""
        digest, inputs = archive.read(filename, self._version)
        self._make_program(inputs)
        program, _, _ = self._compiled()
        if program.trace.digest != digest:
            self._program = None
            raise createPoptorchError("The executable in {} is not of this model's graph".format(filename))
        if self._options.connection_type != enums.ConnectionType.Never:
            self._attach()

    def getAnchoredTensor(self, short_name: str) -> torch.Tensor:
        """The tensor that ``Options.anchorTensor`` named, as the last run had it. Raises AssertionError for another."""
        assert short_name in self._options.anchored_tensors, "anchorTensor named no {!r}".format(short_name)
        program, _, _ = self._compiled()
        return program.final_loss_scale

    def compilationTime(self) -> datetime.timedelta:
        """How long compiling took here; says nothing of an IPU. Raises Error without the progress bar's option."""
        if not self.isCompiled():
            raise createPoptorchError("Please compile the model before obtaining compilation time.")
        if not self._options._host["show"]:
            raise createPoptorchError("Please set showCompilationProgressBar option to obtain compilation time.")
        taken: datetime.timedelta = self._options._progress.compilation_time
        return taken

    def cycleCount(self) -> int:
        """Raise Error: the emulator has no cycles to count."""
        if not self._options._Popart.options["instrumentWithHardwareCycleCounter"]:
            raise createPoptorchError(
                "Cycle count logging is disabled. Please set option logCycleCount to True to enable."
            )
        if not self._device_random_is_newer:
            raise createPoptorchError("Please run the model at least once before obtaining cycle count.")
        raise createPoptorchError("Cycle count logging is only supported on actual IPU hardware.")

    def getPerfCounters(self) -> Any:
        """Raise Error: times here would be a CPU's."""
        raise createPoptorchError("getPerfCounters: the emulator has no counters, its times are a CPU's")


def _refuse_backward(*args: Any, **kwargs: Any) -> None:
    raise createPoptorchError(
        "backward() cannot be called explicitly on outputs of a PopTorch model. If you're using a trainingModel, the "
        "backwards pass is performed automatically when invoking the model. If you're using an inferenceModel, you "
        "should use a trainingModel instead."
    )
