"""The contract on names: what optimum-graphcore 0.7.1 reaches for in poptorch and popart is there."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest
import torch

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
    _Popart.set _Popart.setPatterns _popart.set
"""
)
OF_POPART_S_OPTIONS = {
    "saveInitializersToFile": "initializers.onnx",
    "disableGradAccumulationTensorStreams": True,
    "accumulateOuterFragmentSettings.schedule": 2,
    "accumulateOuterFragmentSettings.excludedVirtualGraphs": ["0"],
    "outlineThreshold": 10.0,
    "subgraphCopyingStrategy": 1,
    "scheduleNonWeightUpdateGradientConsumersEarly": True,
    "enableExplicitIR": True,
    "engineOptions": {"opt.useAutoloader": "true", "target.syncReplicasIndependently": "true"},
}
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


@pytest.mark.parametrize("name", OF_POPART_S_OPTIONS)
def test_an_option_that_is_set_by_its_name_in_popart(poptorch: ModuleType, name: str) -> None:
    options(poptorch)._Popart.set(name, OF_POPART_S_OPTIONS[name])


def test_a_loader_tells_its_data(poptorch: ModuleType) -> None:
    rows = torch.utils.data.TensorDataset(torch.arange(12.0))
    assert len(poptorch.DataLoader(options(poptorch), rows, batch_size=2).dataset) == 12


def test_a_model_tells_what_it_was_made_of_and_compiled_for(poptorch: ModuleType) -> None:
    layer = torch.nn.Linear(4, 2)
    model = poptorch.inferenceModel(layer, options(poptorch))
    assert isinstance(model._user_model, torch.nn.Linear)
    assert not model._executable_inputs
    model(torch.ones(3, 4))
    (compiled,) = [each for each in model._executable_inputs.args if isinstance(each, torch.Tensor)]
    assert compiled.shape == (3, 4)


@pytest.mark.parametrize("name", OF_POPART)
def test_a_name_of_popart(poptorch: ModuleType, name: str) -> None:
    assert reach(importlib.import_module("popart"), name) is not None


def test_an_ipu_is_of_a_generation_that_is_known(poptorch: ModuleType) -> None:
    assert poptorch.ipuHardwareVersion() in (0, 1, 2, 21)  # 0: none; optimum-graphcore asks for 2 or 21
