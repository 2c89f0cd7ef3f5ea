"""The groups within ``poptorch.Options``: precision, training, distribution, tensor locations, tracing."""

from __future__ import annotations

import os
from typing import Any, Optional

import torch

from ._logging import logger
from .enums import MeanReductionStrategy, ReductionType
from .option_kit import Group, Setter, need


def _without_effect(call: str, why: str) -> None:
    logger.warning("options.%s does nothing and is deprecated: %s", call, why)


class JitOptions(Group):
    """Left from the time when models were traced twice."""

    def traceModel(self, trace_model: bool) -> JitOptions:
        """Accept False, refuse True with ValueError."""
        if trace_model:
            raise ValueError("Jit.traceModel(True) asks for torch.jit's tracing, which is gone: leave the call out")
        _without_effect("Jit.traceModel(False)", "models are never traced by torch.jit")
        return self


_PARTIALS = {torch.float32: "float", torch.float16: "half"}


class PrecisionOptions(Group):
    """Options of number formats."""

    enableFloatingPointExceptions = Setter(
        "Ask the device to stop at an overflow; kept for the executable's identity only.",
        "enabled",
        bool,
        key="enableFloatingPointChecks",
        place="compiler",
    )
    enableStochasticRounding = Setter(
        "Round float16 weights, accumulators and momenta up or down by chance, so that the mean is right.",
        "enabled",
        key="enableStochasticRounding",
        place="compiler",
    )

    def setPartialsType(self, dtype: torch.dtype) -> PrecisionOptions:
        """Choose the type of partial sums. The emulator always sums in float32: half partials are not reproduced."""
        partials = _PARTIALS.get(dtype)
        if partials is None:
            raise ValueError("setPartialsType takes torch.float or torch.half, not {}".format(dtype))
        self._put("compiler", "partialsTypeMatMuls", partials)
        self._put("compiler", "convolutionOptions", {"partialsType": partials})
        return self

    def halfFloatCasting(self, half_float_casting: Any) -> PrecisionOptions:
        """Do nothing: operands of mixed precision are always upcast."""
        _without_effect("Precision.halfFloatCasting", "float16 beside float32 is always taken as float32")
        return self

    def runningStatisticsAlwaysFloat(self, value: bool) -> PrecisionOptions:
        """Do nothing; raises ValueError for what is no bool."""
        if value is not True and value is not False:
            raise ValueError("runningStatisticsAlwaysFloat takes True or False, not {!r}".format(value))
        _without_effect("Precision.runningStatisticsAlwaysFloat", "statistics have the type of their buffers")
        return self


class TrainingOptions(Group):
    """Options of gradient accumulation and reduction."""

    gradientAccumulation = Setter(
        "Set the micro-batches per replica whose gradients make one update.", "gradient_accumulation", initial=1
    )
    setMeanAccumulationAndReplicationReductionStrategy = Setter(
        "Choose when the mean is taken.",
        "mean_reduction_strategy",
        key="meanAccumulationAndReplicationReductionStrategy",
        initial=MeanReductionStrategy.Post,
    )
    setAutomaticLossScaling = Setter(
        "Let the loss scaling follow the gradients' sizes, by PopART's documented rule.",
        "enabled",
        key="automaticLossScalingSettings.enabled",
        place="compiler",
    )
    setConvolutionDithering = Setter(
        "Ask for convolutions spread over tiles; of no effect on numbers.",
        "enabled",
        key="convolutionOptions",
        keep=lambda enabled: {"enableConvDithering": enabled},
        place="compiler",
    )

    def __init__(self, compiler: Any) -> None:
        super().__init__(compiler, accumulation_and_replication_reduction_type=ReductionType.Mean)

    def accumulationAndReplicationReductionType(self, reduction_type: ReductionType) -> TrainingOptions:
        """Choose mean or sum over accumulation steps and replicas. Raises ValueError for another."""
        if reduction_type not in (ReductionType.Mean, ReductionType.Sum):
            raise ValueError("gradients are reduced by ReductionType.Mean or .Sum, not by {!r}".format(reduction_type))
        self.set(accumulation_and_replication_reduction_type=reduction_type)
        return self


class DistributedOptions(Group):
    """Which of how many processes this one is; by default what Open MPI's environment says."""

    def __init__(self) -> None:
        super().__init__(num_distributed_processes=1, distributed_process_id=0, ipuof_configs={})
        self.setEnvVarNames("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")

    def configureProcessId(self, process_id: int, num_processes: int) -> DistributedOptions:
        """Set number and id of processes."""
        self.set(num_distributed_processes=num_processes, distributed_process_id=process_id)
        return self

    def setEnvVarNames(self, var_num_processes: str, var_process_id: str) -> DistributedOptions:
        """Read number and id of processes from environment variables; one that is not set means a lone process."""
        count, which = os.environ.get(var_num_processes, "1"), os.environ.get(var_process_id, "0")
        return self.configureProcessId(int(which), int(count))

    def disable(self) -> DistributedOptions:
        """Be the only process."""
        return self.configureProcessId(process_id=0, num_processes=1)

    numProcesses = property(lambda self: int(self.num_distributed_processes), doc="The number of processes.")
    processId = property(lambda self: int(self.distributed_process_id), doc="The id of this process.")


def _flag(doc: str, key: str) -> Setter:
    return Setter(doc, "use", bool, key=key, usual=True, keep=int)


class TensorLocationSettings(Group):
    """Where a kind of tensor lives; of no effect on numbers."""

    minElementsForOffChip = Setter("Keep smaller tensors on chip.", "min_elements", int, key="minElementsForOffChip")
    minElementsForReplicatedTensorSharding = Setter(
        "Keep smaller tensors whole.", "min_elements", int, key="minElementsForReplicatedTensorSharding"
    )
    useReplicatedTensorSharding = _flag("Split the tensors over replicas.", "useReplicatedTensorSharding")
    useIOTilesToLoad = _flag("Load through tiles kept for transfers.", "useIOTilesToLoad")
    useIOTilesToStore = _flag("Store through tiles kept for transfers.", "useIOTilesToStore")

    def useOnChipStorage(self, use: Optional[bool] = True) -> TensorLocationSettings:
        """Keep the tensors in the IPU's own memory; None leaves it to the compiler."""
        if use is None:
            self.forget("onChip")
        else:
            need("useOnChipStorage", use, bool)
            self._put("group", "onChip", int(use))
        return self


def _location(of: str, key: str) -> Setter:
    return Setter("Place {}.".format(of), "location", TensorLocationSettings, key=key, keep=lambda at: at.toDict())


class TensorLocationOptions(Group):
    """Where activations, weights, optimizer states and accumulators live; of no effect on numbers."""

    setActivationLocation = _location("activations", "location_activation")
    setWeightLocation = _location("weights", "location_weight")
    setOptimizerLocation = _location("optimizer states", "location_optimizer")
    setAccumulatorLocation = _location("gradient accumulators", "location_accumulator")
    numIOTiles = Setter(
        "Keep tiles for transfers: an even number from 32 to 192.",
        "num_tiles",
        int,
        key="numIOTiles",
        must=(
            lambda tiles: tiles in range(32, 193, 2),
            "numIOTiles must be an even number between 32 and 192.",  # matched by poptorch's published test
        ),
    )
