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
    _UINT64_MAX,
    DistributedOptions,
    JitOptions,
    PopartOptions,
    PrecisionOptions,
    TensorLocationOptions,
    TrainingOptions,
)
from .options_base import OptionsDict
from .progress import ProgressBar
from .stages import ExecutionStrategy, PipelinedExecution

_DistributedOptions = DistributedOptions  # popdist derives from it by this name

_DEFAULT_LOCATION_EXCLUDES = ["install/poptorch", "site-packages/torch", "site-packages/poptorch"]


class Options(OptionsDict):
    """The options of a model. Each setter checks its argument and returns the options, so that calls chain.

    POPTORCH_CACHE_DIR switches the executable cache on; POPTORCH_DEFAULT_OPTIONS holds defaults as JSON.
    """

    def __init__(self) -> None:
        popart = PopartOptions()
        self.__dict__.update(
            _jit=JitOptions(),
            _popart=popart,
            _graphProcessing=PrecisionOptions(popart),
            _training=TrainingOptions(popart),
            _distributed=DistributedOptions(),
            _tensor_locations=TensorLocationOptions(),
            _execution_strategy=PipelinedExecution(),
            _source_location_excludes=list(_DEFAULT_LOCATION_EXCLUDES),
            _progress_bar=ProgressBar(),
            _relax_optimizer_checks=False,
            _show_compilation_progress_bar=True,
            _module_namescope_enabled=True,
        )
        super().__init__(
            replication_factor=1,
            input_group_size=1,
            input_cgt=enums.CommGroupType.Consecutive,
            broadcast_buffers=True,
            device_iterations=1,
            log_dir=".",
            max_repeat_logs=4,
            auto_round_num_ipus=False,
            anchored_tensors={},
            output_mode=enums.OutputMode.Default.value,
            output_return_period=1,
            connection_type=enums.ConnectionType.Always.value,
            sync_pattern=enums.SyncPattern.Full.value,
            available_memory_proportion={},
        )
        cache = os.environ.get("POPTORCH_CACHE_DIR", "")
        if cache:
            logger.info("POPTORCH_CACHE_DIR is set: setting cache path to %s", cache)
            self.enableExecutableCaching(cache)
        self.from_json(os.environ.get("POPTORCH_DEFAULT_OPTIONS", "{}"))

    @property
    def TensorLocations(self) -> TensorLocationOptions:
        """Where tensors live."""
        return self.__dict__["_tensor_locations"]

    @property
    def Distributed(self) -> DistributedOptions:
        """Which process of how many this is."""
        return self.__dict__["_distributed"]

    @property
    def Jit(self) -> JitOptions:
        """Old tracing options."""
        return self.__dict__["_jit"]

    @property
    def Precision(self) -> PrecisionOptions:
        """Number formats."""
        return self.__dict__["_graphProcessing"]

    @property
    def Training(self) -> TrainingOptions:
        """Accumulation and reduction of gradients."""
        return self.__dict__["_training"]

    @property
    def _Popart(self) -> PopartOptions:
        return self.__dict__["_popart"]

    def from_json(self, string: str) -> Options:
        """Call setters by JSON: ``{"Training.gradientAccumulation": 4, "outputMode": "OutputMode.All"}``."""
        option_files.apply_json(self, json.loads(string))
        return self

    def loadFromFile(self, filepath: str) -> Options:
        """Call setters by a file of lines such as ``deviceIterations(4)``. Raises ConfigFileError for bad syntax."""
        option_files.apply_file(self, filepath)
        return self

    def sourceLocationExcludes(self, excludes: list[str]) -> Options:
        """Replace the path fragments that source locations skip."""
        self._source_location_excludes = excludes
        return self

    def appendToLocationExcludes(self, *excludes: str) -> Options:
        """Add path fragments that source locations skip."""
        self._source_location_excludes = self._source_location_excludes + list(excludes)
        return self

    def showCompilationProgressBar(self, show: bool = True) -> Options:
        """Show a progress bar while compiling."""
        self._show_compilation_progress_bar = show
        return self

    def relaxOptimizerAttributesChecks(self, relax: bool = True) -> Options:
        """Tell of ignored optimizer attributes at debug level only."""
        self._relax_optimizer_checks = relax
        return self

    def autoRoundNumIPUs(self, auto_round_num_ipus: bool = True) -> Options:
        """Take the next power of two when a model needs another number of IPUs."""
        self.set(auto_round_num_ipus=auto_round_num_ipus)
        return self

    def deviceIterations(self, device_iterations: int) -> Options:
        """Run so many steps per call."""
        self.set(device_iterations=device_iterations)
        return self

    def setExecutionStrategy(self, strategy: ExecutionStrategy) -> Options:
        """Choose pipelined, sharded or phased execution."""
        assert isinstance(strategy, ExecutionStrategy)
        self._execution_strategy = strategy
        return self

    def setAvailableMemoryProportion(self, available_memory_proportion: dict[str, float]) -> Options:
        """Limit temporary memory of products, ``{"IPU0": 0.5}``; of no effect on numbers."""
        proportions = {}
        for key, proportion in available_memory_proportion.items():
            assert key.startswith("IPU"), (
                'Available memory proportions are expected to be in a dictionary of {{"IPU0": 0.5}} where the 0 in '
                "IPU is the index of the IPU. Invalid key: {}".format(key)
            )
            proportions[int(key[3:])] = proportion
        self.createOrSet(available_memory_proportion=proportions)
        return self

    def replicationFactor(self, replication_factor: int) -> Options:
        """Run so many copies of the model on their own data."""
        self.set(replication_factor=replication_factor)
        return self

    def inputReplicaGrouping(self, input_group_size: int, input_group_type: enums.CommGroupType) -> Options:
        """Let groups of replicas share their input. Raises ValueError when the size does not divide the replicas."""
        if input_group_type == enums.CommGroupType.NoGrouping:
            input_group_size, input_group_type = 1, enums.CommGroupType.Consecutive
        if input_group_type == enums.CommGroupType.All:
            raise ValueError("input_group_type cannot be All")
        if self.replication_factor < input_group_size:
            raise ValueError("input_group_size cannot be larger than replication_factor")
        if self.replication_factor % input_group_size != 0:
            raise ValueError("input_group_size must be a factor of replication_factor")
        self.set(input_group_size=input_group_size, input_cgt=input_group_type)
        return self

    def broadcastBuffers(self, broadcast_buffers: bool = True) -> Options:
        """Keep buffers the same on all replicas; otherwise their first dimension is the replica's."""
        self.set(broadcast_buffers=broadcast_buffers)
        return self

    def logDir(self, log_dir: str) -> Options:
        """Set where logs go."""
        self.set(log_dir=log_dir)
        return self

    def maxRepeatLogs(self, max_lines: Optional[int]) -> Options:
        """Limit equal log lines; None is no limit."""
        self.set(max_repeat_logs=_UINT64_MAX if max_lines is None else max_lines)
        return self

    def modelName(self, name: str) -> Options:
        """Name the model in reports."""
        self.createOrSet(model_name=name)
        return self

    def enableExecutableCaching(self, path: Optional[str]) -> Options:
        """Keep executables in a folder; None switches it off."""
        if path is not None:
            self._Popart.set("cachePath", path)
        self._Popart.set("enableEngineCaching", path is not None)
        return self

    def useIpuModel(self, use_model: bool) -> Options:
        """Ask for Poplar's own model of an IPU; the emulator stands in for that too."""
        self.createOrSet(use_model=use_model)
        return self

    def connectionType(self, connection_type: enums.ConnectionType) -> Options:
        """Say when a device is attached."""
        assert isinstance(connection_type, enums.ConnectionType)
        self.set(connection_type=connection_type.value)
        return self

    def syncPattern(self, sync_pattern: enums.SyncPattern) -> Options:
        """Say how IPUs wait for one another."""
        assert isinstance(sync_pattern, enums.SyncPattern)
        self.set(sync_pattern=sync_pattern.value)
        return self

    def useIpuId(self, ipu_id: int) -> Options:
        """Ask for one device by its number."""
        assert isinstance(ipu_id, int)
        self.createOrSet(ipu_id=ipu_id)
        return self

    def useOfflineIpuTarget(self, ipu_version: int = 2) -> Options:
        """Compile for a device that is not there; such a model cannot run."""
        self.connectionType(enums.ConnectionType.Never)
        self.createOrSet(ipu_version=ipu_version)
        return self

    def anchorTensor(
        self,
        short_name: str,
        long_name: str,
        output_mode: Optional[enums.OutputMode] = None,
        output_return_period: Optional[int] = 1,
    ) -> None:
        """Ask for a tensor within the graph. The emulator has that of the loss scaling alone; others are refused."""
        period = output_return_period if output_mode == enums.OutputMode.EveryN else 1
        self.anchored_tensors[short_name] = [long_name, output_mode is None, output_mode, period]

    def outputMode(self, output_mode: enums.OutputMode, output_return_period: Optional[int] = None) -> Options:
        """Choose which micro-batches' outputs come back; EveryN needs a period."""
        assert isinstance(output_mode, enums.OutputMode)
        if output_mode == enums.OutputMode.EveryN:
            assert output_return_period and output_return_period > 0, (
                "EveryN anchor must have output_return_period set to valid positive integer"
            )
        elif output_return_period:
            logger.info("Anchor return period argument ignored with output_mode set to %s", output_mode)
        self.set(output_mode=output_mode.value, output_return_period=output_return_period or 1)
        return self

    def defaultOutputMode(self) -> bool:
        """Whether no mode was chosen yet."""
        return bool(self.output_mode == enums.OutputMode.Default)

    def randomSeed(self, random_seed: int) -> Options:
        """Seed the device's random numbers, and torch's own on the host."""
        assert isinstance(random_seed, int)
        torch.manual_seed(random_seed)
        self.createOrSet(random_seed=random_seed)
        return self

    def enableStableNorm(self, enabled: bool) -> Options:
        """Compute variances in two passes; the emulator always does."""
        self._Popart.set("enableStableNorm", enabled)
        return self

    def enableSyntheticData(self, enabled: bool) -> Options:
        """Feed random data instead of the host's; of no effect here."""
        self._Popart.set("syntheticDataMode", 2 if enabled else 0)
        return self

    def logCycleCount(self, log_cycle_count: bool) -> Options:
        """Count the device's cycles; there are none here."""
        self._Popart.set("instrumentWithHardwareCycleCounter", log_cycle_count)
        return self

    def enableProfiling(self, profile_dir: Optional[str] = None) -> Options:
        """Ask Poplar for reports; none are written here."""
        overridden = ("debug.allowOutOfMemory", "autoReport.directory", "autoReport.all")
        if any(name in os.environ.get("POPLAR_ENGINE_OPTIONS", "") for name in overridden):
            logger.warning(
                "Profiling setting overridden by environment variable. Check content of POPLAR_ENGINE_OPTIONS."
            )
        engine = self._Popart.options.get("engineOptions", {})
        engine.update(
            {"debug.allowOutOfMemory": "true", "autoReport.directory": profile_dir or ".", "autoReport.all": "true"}
        )
        self._Popart.setEngineOptions(engine)
        return self

    def disableModuleNamescope(self) -> Options:
        """Leave module names out of the graph."""
        self._module_namescope_enabled = False
        return self

    def updatableNamedBuffers(self, buffers: list[str]) -> Options:
        """Name buffers that ``copyNamedBuffersToDevice`` may change."""
        self._Popart.set("updatableNamedBuffers", buffers)
        return self

    def toDict(self) -> dict[str, Any]:
        """All options as one dictionary, compiler options at the top level. The output mode must be chosen."""
        assert not self.defaultOutputMode(), "An output mode must be picked before serialisation"
        out = self._execution_strategy.backendOptions()
        out.update(self._Popart.options)
        out = self.update(out)
        for part in (self.Training, self.Distributed, self.TensorLocations):
            out = part.update(out)
        if self._show_compilation_progress_bar:
            out["compilation_progress_bar_fn"] = self._progress_bar
        return out

    def clone(self) -> Options:
        """A copy that is not frozen."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        groups = [name for name in dir(type(self)) if isinstance(getattr(type(self), name), property)]
        values = ["{}={!r}".format(*item) for item in self._values.items()]
        return "{}({})".format(
            type(self).__name__, ", ".join(values + ["{}={}".format(name, getattr(self, name)) for name in groups])
        )
