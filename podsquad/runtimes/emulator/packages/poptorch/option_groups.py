"""The groups within ``poptorch.Options``: precision, training, compiler, distribution, tensor locations, tracing."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional

import torch

from ._logging import logger
from .enums import MeanReductionStrategy, ReductionType
from .options_base import Freezable, OptionsDict

_UINT64_MAX = (1 << 64) - 1


class PopartOptions(Freezable):
    """Options handed through to the compiler, by its own names. Unknown names fail when a model compiles."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.set("instrumentWithHardwareCycleCounter", False)
        self.set("rearrangeAnchorsOnHost", False)

    def set(self, key: str, value: Any) -> PopartOptions:
        """Set one session option. Raises AttributeError when frozen."""
        self.checkIsFrozen()
        self.options[key] = value
        return self

    def setEngineOptions(self, engine_options: Mapping[str, str]) -> PopartOptions:
        """Set the options of Poplar's engine; the emulator keeps them for the executable's identity only."""
        return self.set("engineOptions", engine_options)

    def setPatterns(self, patterns: Mapping[str, bool], level: int = 2) -> PopartOptions:
        """Choose the compiler's rewriting patterns."""
        assert isinstance(level, int)
        assert isinstance(patterns, dict)
        self.set("patterns_level", level)
        return self.set("patterns", patterns)

    def __repr__(self) -> str:
        return "{}({})".format(type(self).__name__, ", ".join("{}={!r}".format(*item) for item in self.options.items()))


class JitOptions(OptionsDict):
    """Left from the time when models were traced twice."""

    def traceModel(self, trace_model: bool) -> JitOptions:
        """Accept False, refuse True with ValueError."""
        logger.warning(
            "[Deprecated] Do not call options.Jit.traceModel(): options.Jit.traceModel(False) is now the default, "
            "and True is no longer supported, therefore this function will be removed shortly"
        )
        if trace_model:
            raise ValueError("options.Jit.traceModel(True) is no longer supported")
        return self


class PrecisionOptions(OptionsDict):
    """Options of number formats."""

    def __init__(self, popart_options: PopartOptions) -> None:
        self.__dict__["_popart_options"] = popart_options
        super().__init__()

    def halfFloatCasting(self, half_float_casting: Any) -> PrecisionOptions:
        """Do nothing: operands of mixed precision are always upcast."""
        logger.warning(
            "[Deprecated] Do not call options.Precision.halfFloatCasting(): HalfUpcastToFloat is now the only "
            "supported option and matches PyTorch's behaviour so you don't need to explicitly set it."
        )
        return self

    def runningStatisticsAlwaysFloat(self, value: bool) -> PrecisionOptions:
        """Do nothing; raises ValueError for what is no bool."""
        if not isinstance(value, bool):
            raise ValueError("runningStatisticsAlwaysFloat needs to be set to a bool")
        logger.warning(
            "[Deprecated] Do not call options.Precision.runningStatisticsAlwaysFloat(): False is now the only "
            "supported option and matches PyTorch's behaviour so you don't need to explicitly set it."
        )
        return self

    def enableFloatingPointExceptions(self, enabled: bool) -> PrecisionOptions:
        """Ask the device to stop at an overflow; kept for the executable's identity only."""
        assert isinstance(enabled, bool), "enableFloatingPointExceptions needs to be set to a bool"
        self._popart_options.set("enableFloatingPointChecks", enabled)
        return self

    def enableStochasticRounding(self, enabled: bool) -> PrecisionOptions:
        """Round float16 weights, accumulators and momenta up or down by chance, so that the mean is right."""
        self._popart_options.set("enableStochasticRounding", enabled)
        return self

    def setPartialsType(self, dtype: torch.dtype) -> PrecisionOptions:
        """Choose the type of partial sums. The emulator always sums in float32: half partials are not reproduced."""
        names = {torch.float32: "float", torch.float16: "half"}
        if dtype not in names:
            raise ValueError("parameter to setPartialsType should be either torch.float or torch.half")
        self._popart_options.set("partialsTypeMatMuls", names[dtype])
        self._popart_options.set("convolutionOptions", {"partialsType": names[dtype]})
        return self


class TrainingOptions(OptionsDict):
    """Options of gradient accumulation and reduction."""

    def __init__(self, popart_options: PopartOptions) -> None:
        self.__dict__["_popart_options"] = popart_options
        super().__init__(
            gradient_accumulation=1,
            accumulation_and_replication_reduction_type=ReductionType.Mean,
            meanAccumulationAndReplicationReductionStrategy=MeanReductionStrategy.Post,
        )

    def gradientAccumulation(self, gradient_accumulation: int) -> TrainingOptions:
        """Set the micro-batches per replica whose gradients make one update."""
        self.set(gradient_accumulation=gradient_accumulation)
        return self

    def accumulationAndReplicationReductionType(self, reduction_type: ReductionType) -> TrainingOptions:
        """Choose mean or sum over accumulation steps and replicas. Raises ValueError for another."""
        if not isinstance(reduction_type, ReductionType) or reduction_type == ReductionType.NoReduction:
            raise ValueError(
                "accumulationAndReplicationReductionType must be set to poptorch.ReductionType.Mean or "
                "poptorch.ReductionType.Sum"
            )
        self.set(accumulation_and_replication_reduction_type=reduction_type)
        return self

    def setMeanAccumulationAndReplicationReductionStrategy(
        self, mean_reduction_strategy: MeanReductionStrategy
    ) -> TrainingOptions:
        """Choose when the mean is taken."""
        self.set(meanAccumulationAndReplicationReductionStrategy=mean_reduction_strategy)
        return self

    def setAutomaticLossScaling(self, enabled: bool) -> TrainingOptions:
        """Let the loss scaling follow the gradients' sizes, by PopART's documented rule."""
        self._popart_options.set("automaticLossScalingSettings.enabled", enabled)
        return self

    def setConvolutionDithering(self, enabled: bool) -> TrainingOptions:
        """Ask for convolutions spread over tiles; of no effect on numbers."""
        self._popart_options.set("convolutionOptions", {"enableConvDithering": enabled})
        return self


class DistributedOptions(OptionsDict):
    """Which of how many processes this one is; by default what Open MPI's environment says."""

    def __init__(self) -> None:
        super().__init__(num_distributed_processes=1, distributed_process_id=0, ipuof_configs={})
        self.setEnvVarNames("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")

    def disable(self) -> DistributedOptions:
        """Be the only process."""
        return self.configureProcessId(0, 1)

    def setEnvVarNames(self, var_num_processes: str, var_process_id: str) -> DistributedOptions:
        """Read number and id of processes from environment variables."""
        return self.configureProcessId(
            int(os.environ.get(var_process_id, "0")), int(os.environ.get(var_num_processes, "1"))
        )

    def configureProcessId(self, process_id: int, num_processes: int) -> DistributedOptions:
        """Set number and id of processes."""
        self.set(distributed_process_id=process_id, num_distributed_processes=num_processes)
        return self

    @property
    def processId(self) -> int:
        """The id of this process."""
        return int(self.distributed_process_id)

    @property
    def numProcesses(self) -> int:
        """The number of processes."""
        return int(self.num_distributed_processes)


class TensorLocationSettings(OptionsDict):
    """Where a kind of tensor lives; of no effect on numbers."""

    def minElementsForOffChip(self, min_elements: int) -> TensorLocationSettings:
        """Keep smaller tensors on chip."""
        assert isinstance(min_elements, int)
        self.createOrSet(minElementsForOffChip=min_elements)
        return self

    def minElementsForReplicatedTensorSharding(self, min_elements: int) -> TensorLocationSettings:
        """Keep smaller tensors whole."""
        assert isinstance(min_elements, int)
        self.createOrSet(minElementsForReplicatedTensorSharding=min_elements)
        return self

    def useOnChipStorage(self, use: Optional[bool] = True) -> TensorLocationSettings:
        """Keep the tensors in the IPU's own memory; None leaves it to the compiler."""
        if use is None:
            self.deleteIfExists("onChip")
            return self
        return self._flag("onChip", use)

    def useReplicatedTensorSharding(self, use: bool = True) -> TensorLocationSettings:
        """Split the tensors over replicas."""
        return self._flag("useReplicatedTensorSharding", use)

    def useIOTilesToLoad(self, use: bool = True) -> TensorLocationSettings:
        """Load through tiles kept for transfers."""
        return self._flag("useIOTilesToLoad", use)

    def useIOTilesToStore(self, use: bool = True) -> TensorLocationSettings:
        """Store through tiles kept for transfers."""
        return self._flag("useIOTilesToStore", use)

    def _flag(self, name: str, use: bool) -> TensorLocationSettings:
        assert isinstance(use, bool)
        self.createOrSet(**{name: int(use)})
        return self


class TensorLocationOptions(OptionsDict):
    """Where activations, weights, optimizer states and accumulators live; of no effect on numbers."""

    def numIOTiles(self, num_tiles: int) -> TensorLocationOptions:
        """Keep tiles for transfers: an even number from 32 to 192."""
        assert isinstance(num_tiles, int)
        assert 32 <= num_tiles <= 192 and num_tiles % 2 == 0, "numIOTiles must be an even number between 32 and 192."
        self.createOrSet(numIOTiles=num_tiles)
        return self

    def setActivationLocation(self, location: TensorLocationSettings) -> TensorLocationOptions:
        """Place activations."""
        return self._place("location_activation", location)

    def setWeightLocation(self, location: TensorLocationSettings) -> TensorLocationOptions:
        """Place weights."""
        return self._place("location_weight", location)

    def setOptimizerLocation(self, location: TensorLocationSettings) -> TensorLocationOptions:
        """Place optimizer states."""
        return self._place("location_optimizer", location)

    def setAccumulatorLocation(self, location: TensorLocationSettings) -> TensorLocationOptions:
        """Place gradient accumulators."""
        return self._place("location_accumulator", location)

    def _place(self, name: str, location: TensorLocationSettings) -> TensorLocationOptions:
        assert isinstance(location, TensorLocationSettings)
        self.createOrSet(**{name: location.toDict()})
        return self
