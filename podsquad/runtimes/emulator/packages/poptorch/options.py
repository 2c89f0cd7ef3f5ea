"""``poptorch.Options``: everything about a compiled model but the model and the optimizer."""

from __future__ import annotations

import copy
import json
import os
from typing import Any, Optional

import torch

from . import enums, option_files
from ._logging import logger
from .option_files import ConfigFileError  # noqa: F401  (user programs name it poptorch.options.ConfigFileError)
from .option_groups import (
    DistributedOptions,
    JitOptions,
    PrecisionOptions,
    TensorLocationOptions,
    TrainingOptions,
)
from .option_kit import CompilerOptions, Group, Setter, need
from .progress import ProgressBar
from .stages import ExecutionStrategy, PipelinedExecution

_DistributedOptions = DistributedOptions  # popdist derives from it by this name

_NO_LIMIT = 2**64 - 1  # the largest number that the compiler's own type holds
_SYNTHETIC_DATA = 2  # PopART's mode of random data
_PROFILING = ("debug.allowOutOfMemory", "autoReport.directory", "autoReport.all")


def _group(name: str, doc: str) -> Any:
    return property(lambda self: vars(self)[name], doc=doc)


class Options(Group):
    """The options of a model. Each setter checks its argument and returns the options, so that calls chain.

    POPTORCH_CACHE_DIR switches the executable cache on; POPTORCH_DEFAULT_OPTIONS holds defaults as JSON.
    """

    TensorLocations = _group("_locations", "Where tensors live.")
    Distributed = _group("_processes", "Which process of how many this is.")
    Jit = _group("_tracing", "Old tracing options.")
    Precision = _group("_precision", "Number formats.")
    Training = _group("_reduction", "Accumulation and reduction of gradients.")
    _Popart = _popart = _group("_compiler", "The compiler's session options: both names are in use.")

    deviceIterations = Setter("Run so many steps per call.", "device_iterations", initial=1)
    replicationFactor = Setter("Run so many copies of the model on their own data.", "replication_factor", initial=1)
    broadcastBuffers = Setter(
        "Keep buffers the same on all replicas; otherwise their first dimension is the replica's.",
        "broadcast_buffers",
        usual=True,
        initial=True,
    )
    autoRoundNumIPUs = Setter(
        "Take the next power of two when a model needs another number of IPUs.",
        "auto_round_num_ipus",
        usual=True,
        initial=False,
    )
    connectionType = Setter(
        "Say when a device is attached.",
        "connection_type",
        enums.ConnectionType,
        keep=int,
        initial=int(enums.ConnectionType.Always),
    )
    syncPattern = Setter(
        "Say how IPUs wait for one another.",
        "sync_pattern",
        enums.SyncPattern,
        keep=int,
        initial=int(enums.SyncPattern.Full),
    )
    useIpuId = Setter("Ask for one device by its number.", "ipu_id", int)
    useIpuModel = Setter("Ask for Poplar's own model of an IPU; the emulator stands in for that too.", "use_model")
    logDir = Setter("Set where logs go.", "log_dir", initial=".")
    modelName = Setter("Name the model in reports.", "name", key="model_name")
    maxRepeatLogs = Setter(
        "Limit equal log lines; None is no limit.",
        "max_lines",
        key="max_repeat_logs",
        keep=lambda lines: _NO_LIMIT if lines is None else lines,
        initial=4,
    )
    setExecutionStrategy = Setter(
        "Choose pipelined, sharded or phased execution.", "strategy", ExecutionStrategy, place="host"
    )
    showCompilationProgressBar = Setter(
        "Show a progress bar while compiling.", "show", usual=True, initial=True, place="host"
    )
    relaxOptimizerAttributesChecks = Setter(
        "Tell of ignored optimizer attributes at debug level only.", "relax", usual=True, initial=False, place="host"
    )
    sourceLocationExcludes = Setter(
        "Replace the path fragments that source locations skip; the emulator has no such locations.",
        "excludes",
        initial=[],
        place="host",
    )
    enableStableNorm = Setter(
        "Compute variances in two passes; the emulator always does.",
        "enabled",
        key="enableStableNorm",
        place="compiler",
    )
    enableSyntheticData = Setter(
        "Feed random data instead of the host's; of no effect here.",
        "enabled",
        key="syntheticDataMode",
        keep=lambda enabled: _SYNTHETIC_DATA if enabled else 0,
        place="compiler",
    )
    logCycleCount = Setter(
        "Count the device's cycles; there are none here.",
        "log_cycle_count",
        key="instrumentWithHardwareCycleCounter",
        place="compiler",
    )
    updatableNamedBuffers = Setter(
        "Name buffers that ``copyNamedBuffersToDevice`` may change.",
        "buffers",
        key="updatableNamedBuffers",
        place="compiler",
    )

    def __init__(self) -> None:
        compiler = CompilerOptions()
        super().__init__(
            compiler,
            input_group_size=1,
            input_cgt=enums.CommGroupType.Consecutive,
            anchored_tensors={},
            output_mode=int(enums.OutputMode.Default),
            output_return_period=1,
            available_memory_proportion={},
        )
        vars(self).update(
            _locations=TensorLocationOptions(),
            _processes=DistributedOptions(),
            _tracing=JitOptions(),
            _precision=PrecisionOptions(compiler),
            _reduction=TrainingOptions(compiler),
            _progress=ProgressBar(),
        )
        self._host["strategy"] = PipelinedExecution()
        if os.environ.get("POPTORCH_CACHE_DIR"):
            logger.info("Executables are cached in %s, as POPTORCH_CACHE_DIR says", os.environ["POPTORCH_CACHE_DIR"])
            self.enableExecutableCaching(os.environ["POPTORCH_CACHE_DIR"])
        self.from_json(os.environ.get("POPTORCH_DEFAULT_OPTIONS", "{}"))

    @property
    def _execution_strategy(self) -> ExecutionStrategy:
        return self._host["strategy"]

    def from_json(self, string: str) -> Options:
        """Call setters by JSON: ``{"Training.gradientAccumulation": 4, "outputMode": "OutputMode.All"}``."""
        option_files.apply_json(self, json.loads(string))
        return self

    def loadFromFile(self, filepath: str) -> Options:
        """Call setters by a file of lines such as ``deviceIterations(4)``. Raises ConfigFileError for bad syntax."""
        option_files.apply_file(self, filepath)
        return self

    def appendToLocationExcludes(self, *excludes: str) -> Options:
        """Add path fragments that source locations skip."""
        return self.sourceLocationExcludes([*self._host["excludes"], *excludes])

    def disableModuleNamescope(self) -> Options:
        """Leave module names out of the graph; the emulator's has none."""
        self._need_open()
        return self

    def setAvailableMemoryProportion(self, available_memory_proportion: dict[str, float]) -> Options:
        """Limit temporary memory of products, ``{"IPU0": 0.5}``; of no effect on numbers."""
        by_ipu = {}
        for name, proportion in available_memory_proportion.items():
            kind, number = name[:3], name[3:]
            assert kind == "IPU" and number.isdigit(), (
                "setAvailableMemoryProportion names IPUs by index, as IPU0 or IPU3; {!r} is no such name".format(name)
            )
            by_ipu[int(number)] = proportion
        self.set(available_memory_proportion=by_ipu)
        return self

    def inputReplicaGrouping(self, input_group_size: int, input_group_type: enums.CommGroupType) -> Options:
        """Let groups of replicas share their input. Raises ValueError when the size does not divide the replicas."""
        size, kind = input_group_size, input_group_type
        if kind == enums.CommGroupType.NoGrouping:
            size, kind = 1, enums.CommGroupType.Consecutive
        if kind == enums.CommGroupType.All:
            raise ValueError("input groups are Consecutive or Orthogonal; with All every replica would read the same")
        if size not in range(1, self.replication_factor + 1) or self.replication_factor % size:
            raise ValueError(
                "{} replicas do not fall into input groups of {}: choose a divisor, after replicationFactor".format(
                    self.replication_factor, size
                )
            )
        self.set(input_group_size=size, input_cgt=kind)
        return self

    def enableExecutableCaching(self, path: Optional[str]) -> Options:
        """Keep executables in a folder; None switches it off."""
        self._compiler.set("enableEngineCaching", path is not None)
        if path is not None:
            self._compiler.set("cachePath", path)
        return self

    def useOfflineIpuTarget(self, ipu_version: int = 2) -> Options:
        """Compile for a device that is not there; such a model cannot run."""
        self._put("group", "ipu_version", ipu_version)
        return self.connectionType(enums.ConnectionType.Never)

    def anchorTensor(
        self,
        short_name: str,
        long_name: str,
        output_mode: Optional[enums.OutputMode] = None,
        output_return_period: Optional[int] = 1,
    ) -> None:
        """Ask for a tensor within the graph. The emulator has that of the loss scaling alone; others are refused."""
        period = output_return_period if output_mode == enums.OutputMode.EveryN else 1
        follows_model = output_mode is None
        self.set(
            anchored_tensors={**self.anchored_tensors, short_name: [long_name, follows_model, output_mode, period]}
        )

    def outputMode(self, output_mode: enums.OutputMode, output_return_period: Optional[int] = None) -> Options:
        """Choose which micro-batches' outputs come back; EveryN needs a period."""
        need("outputMode", output_mode, enums.OutputMode)
        period = output_return_period or 0
        if output_mode == enums.OutputMode.EveryN:
            assert period >= 1, "OutputMode.EveryN needs output_return_period, 1 or more: every how many-th comes back"
        elif period:
            logger.info("output_return_period=%d counts with OutputMode.EveryN alone, not %s", period, output_mode)
        self.set(output_mode=int(output_mode), output_return_period=max(period, 1))
        return self

    def defaultOutputMode(self) -> bool:
        """Whether no mode was chosen yet."""
        return bool(self.output_mode == enums.OutputMode.Default)

    def randomSeed(self, random_seed: int) -> Options:
        """Seed the device's random numbers, and torch's own on the host."""
        need("randomSeed", random_seed, int)
        self._put("group", "random_seed", random_seed)
        torch.manual_seed(random_seed)
        return self

    def enableProfiling(self, profile_dir: Optional[str] = None) -> Options:
        """Ask Poplar for reports; none are written here."""
        outer = os.environ.get("POPLAR_ENGINE_OPTIONS", "")
        named = [name for name in _PROFILING if name in outer]
        if named:
            logger.warning("POPLAR_ENGINE_OPTIONS sets %s too, and wins over enableProfiling", ", ".join(named))
        report = dict(zip(_PROFILING, ("true", profile_dir or ".", "true")))
        self._compiler.setEngineOptions({**self._compiler.options.get("engineOptions", {}), **report})
        return self

    def toDict(self) -> dict[str, Any]:
        """All options as one dictionary, compiler options at the top level. Raises AssertionError for a name twice."""
        assert not self.defaultOutputMode(), "outputMode comes first: what a model returns is part of its options"
        parts = [
            self._execution_strategy.compiler_options(),
            self._compiler.options,
            self._options,
            *[group.toDict() for group in (self.Training, self.Distributed, self.TensorLocations)],
        ]
        everything: dict[str, Any] = {}
        for part in parts:
            twice = sorted(everything.keys() & part.keys())
            assert not twice, "set twice, once by _Popart.set and once by a setter: {}".format(", ".join(twice))
            everything.update(part)
        if self._host["show"]:
            everything["compilation_progress_bar_fn"] = self._progress
        return everything

    def clone(self) -> Options:
        """A copy that is not sealed."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        groups = {name: getattr(self, name) for name in ("Training", "Precision", "Distributed", "TensorLocations")}
        shown = {**self._options, **groups, "_Popart": self._compiler}
        return "Options({})".format(", ".join("{}={!r}".format(name, value) for name, value in shown.items()))
