"""The session options that the compiler knows by name, with the kind of value each takes, and their check.

Source: the names that poptorch's public sources pass on to PopART. The emulator acts on few of them; the others are
part of an executable's identity. An unknown name is an error, as it is there.
"""

from __future__ import annotations

from typing import Any, Iterator

from ._logging import logger
from .errors import compiler_error

_CONTAINERS = """
available_memory_proportion convolutionOptions customCodelets dotChecks engineOptions gclOptions
hardwareInstrumentations ipuof_configs lstmOptions matmulOptions patterns reportOptions updatableNamedBuffers
accumulateOuterFragmentSettings.excludedVirtualGraphs anchored_tensors
location_accumulator location_activation location_optimizer location_weight
"""
_STRINGS = """
cachePath customCodeletCompileFlags kahnTieBreaker logDir log_dir model_name partialsTypeMatMuls
saveInitializersToFile serializedPoprithmsShiftGraphsDir
"""
_NUMBERS = """
accumulationAndReplicationReductionType accumulationFactor accumulation_and_replication_reduction_type
accumulateOuterFragmentSettings.schedule autoRecomputation autodiffSettings.stitchStrategy
automaticLossScalingSettings.binEdgeLocation automaticLossScalingSettings.gradientTensorTrackingMethod
automaticLossScalingSettings.thresholdUpperCountProportion automaticLossScalingSettings.updatePeriod
batchSerializationSettings.batchSchedule batchSerializationSettings.factor batchSerializationSettings.method
batchSerializationSettings.transformContext compilationProgressTotal connection_type defaultBufferingDepth
defaultPrefetchBufferingDepth device_iterations distributed_process_id execution_mode executionPhaseSettings.phases
executionPhaseSettings.stages finalDotOp firstDotOp globalReplicaOffset globalReplicationFactor gradient_accumulation
input_cgt input_group_size ipu_id ipu_version looseThresholdAtPeak max_repeat_logs
meanAccumulationAndReplicationReductionStrategy mergeVarUpdate mergeVarUpdateMemThreshold numIOTiles
num_distributed_processes outlineSequenceBreakCost outlineThreshold output_mode output_return_period patterns_level
random_seed replication_factor subgraphCopyingStrategy swapLimitScheduler sync_pattern syntheticDataMode
tensors_liveness timeLimitScheduler transitiveClosureOptimizationThreshold virtualGraphMode
"""
_BOOLEANS = """
aliasZeroCopy auto_round_num_ipus automaticLossScalingSettings.enabled
batchSerializationSettings.concatOnExecutionPhaseChange batchSerializationSettings.concatOnPipelineStageChange
batchSerializationSettings.concatOnVirtualGraphChange broadcast_buffers compileEngine constantWeights
decomposeGradSum delayVarUpdates disableGradAccumulationTensorStreams disableOptimizerStateTensorStreams dotOpNames
enableDistributedReplicatedGraphs enableEngineCaching enableExplicitIR enableExplicitMainLoops
enableFloatingPointChecks enableFullyConnectedPass enableGradientAccumulation enableInplaceAmbiguityChecking
enableLoadAndOffloadRNGState enableMergeExchange enableNonStableSoftmax enableOutlining
enableOutliningCopyCostPruning enablePipelining enablePrefetchDatastreams enableReplicatedGraphs
enableSerializedMatmuls enableStableNorm enableStochasticRounding enableSupportedDataTypeCasting
ensureFp32LossScaleTensor explicitRecomputation exportPoplarComputationGraph exportPoplarVertexGraph groupHostSync
groupNormStridedChannelGrouping instrumentWithHardwareCycleCounter opxAliasChecking opxModifyChecking
rearrangeAnchorsOnHost rearrangeStreamsOnHost scheduleNonWeightUpdateGradientConsumersEarly separateCallOpPdfs
separate_backward_phase serial_phases_execution strictOpVersions use_model useHostCopyOps
useLoopCandidateCreator
"""

_KINDS = {
    **dict.fromkeys(_CONTAINERS.split(), "container"),
    **dict.fromkeys(_STRINGS.split(), "string"),
    **dict.fromkeys(_NUMBERS.split(), "number"),
    **dict.fromkeys(_BOOLEANS.split(), "boolean"),
}
_VALUES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool, int),
    "container": (dict, list, tuple, set),
}


def validate(options: dict[str, Any]) -> None:
    """Check names and values as ``Options.toDict`` gives them, and tell each at debug level.

    Raises Error for an unknown name or a value of another kind.
    """
    for name, value in options.items():
        if name == "compilation_progress_bar_fn":
            continue
        if name in _KINDS and not isinstance(value, (str, int, float, dict, list, tuple, set)):
            raise compiler_error("Unknown value type {} for option {}".format(type(value).__name__, name))
        if name not in _KINDS or not isinstance(value, _VALUES[_KINDS[name]]):
            raise compiler_error("Unknown {} option {}".format(_kind_of(value), name))
        for line in _lines(name, value):
            logger.debug("poptorch.Options %s", line)


def _kind_of(value: Any) -> str:
    for kind, types in (("boolean", bool), ("number", (int, float)), ("string", str)):
        if isinstance(value, types):
            return kind
    return "container"


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield "set {}[{}] to {}".format(name, key, item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield "added {} to {}".format(item, name)
    else:
        shown = str(value).lower() if isinstance(value, bool) else value
        yield "set {} to value {}".format(name, int(shown) if isinstance(shown, int) else shown)
