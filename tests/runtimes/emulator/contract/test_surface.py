"""The contract on names: what optimum-graphcore 0.7.1 reaches for in poptorch and popart is there."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest

from tests.runtimes.emulator.contract.models import options


def names(text: str) -> list[str]:
    return text.split()


NAMES = names(
    """
    Attribute AutoStage.AutoIncrement BeginBlock DataLoader Options PipelinedExecution PoplarExecutor ShardedExecution
    MatMulSerializationMode.OutputChannels MatMulSerializationMode.ReducingDim OutputMode ReductionType.Mean
    TensorLocationSettings cond custom_op dynamic_slice dynamic_update identity_loss inferenceModel ipuHardwareVersion
    isRunningOnIpu recomputationCheckpoint removeBlocks serializedMatMul setLogLevel trainingModel
    AdamW optim.Adam optim.AdamW optim.LAMB optim.Optimizer optim.RMSprop optim.SGD optim.VariableAttributes
    _impl.rewrapModelIfNecessary _impl.unwrapModelIfNecessary _poplar_executor.PoplarExecutor
"""
)
OF_A_MODEL = names(
    """
    attachToDevice compile compileAndExport copyNamedBuffersToDevice copyWeightsToHost destroy detachFromDevice
    isAttachedToDevice isCompiled loadExecutable setOptimizer rng_state
"""
)
OF_OPTIONS = names(
    """
    autoRoundNumIPUs broadcastBuffers deviceIterations enableExecutableCaching outputMode randomSeed replicationFactor
    setAvailableMemoryProportion setExecutionStrategy updatableNamedBuffers useOfflineIpuTarget replication_factor
    Training.gradientAccumulation Training.accumulationAndReplicationReductionType Training.setAutomaticLossScaling
    TensorLocations.setOptimizerLocation Precision.enableStochasticRounding Precision.setPartialsType
    _Popart.set _Popart.setPatterns
"""
)
OF_POPART = (
    "AccumulateOuterFragmentSchedule.OverlapMemoryOptimized",
    "SubgraphCopyingStrategy.JustInTime",
)


def reach(start: object, path: str) -> object:
    for name in path.split("."):
        start = getattr(start, name)
    return start


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_poptorch(poptorch: ModuleType, name: str) -> None:
    assert reach(poptorch, name) is not None


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_name_of_a_model(poptorch: ModuleType, name: str) -> None:
    assert inspect.getattr_static(poptorch.PoplarExecutor, name) is not None


@pytest.mark.parametrize("name", OF_OPTIONS)
def test_a_name_of_the_options(poptorch: ModuleType, name: str) -> None:
    assert reach(options(poptorch), name) is not None


@pytest.mark.parametrize("name", OF_POPART)
def test_a_name_of_popart(poptorch: ModuleType, name: str) -> None:
    assert reach(importlib.import_module("popart"), name) is not None


def test_an_ipu_is_of_a_generation_that_is_known(poptorch: ModuleType) -> None:
    assert poptorch.ipuHardwareVersion() in (0, 1, 2, 21)  # 0: none; optimum-graphcore asks for 2 or 21
