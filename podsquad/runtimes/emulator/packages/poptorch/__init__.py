"""An emulation of poptorch 3.3 on a CPU: the calls and the numbers of the SDK, with torch and numpy alone.

It stands in where there is no Poplar SDK, so that the genuine, unmodified optimum-graphcore runs line for line. It is
written from facts: what poptorch documents, what optimum-graphcore calls, what their published tests ask for. No code
of Graphcore's is in it; the names, the signatures, and the words that those tests match are the interface.

It is no poptorch: ``__version__`` says ``+emulated``, every line that it logs says so, every executable that it writes
says so, and its times are a CPU's.

Reproduced
    Batches: combined batch = micro batch x device iterations x replicas x accumulation, one update per device
    iteration; output modes Final, EveryN, All, Sum; fixed shapes and types; at the border int64 becomes int32 and
    float64 float32.
    Training: the loss is what ``identity_loss`` or a loss function of torch marks, and must be one; loss scaling,
    automatic too; mean (running in float16, at the end in float32) or sum over accumulation and replicas; SGD, Adam,
    AdamW, RMSprop, LAMB with the types of their states; constants fixed when compiled; stochastic rounding of
    weights, accumulators and momenta.
    Bias correction: AdamW(bias_correction=False) is corrected all the same, as SDK 2.4 and later do it;
    PODSQUAD_EMULATED_BIAS_CORRECTION=argument takes the argument at its word.
    Precision: operands of mixed float16 and float32 are upcast; float16 is stored in 16 bits, computed in float32 and
    rounded once per operation.
    Compiling: number of IPUs and their rounding, stages, accumulation >= 2 x stages - 1, offline target, executable
    cache by the graph's content, ``compileAndExport``, ``loadExecutable``, ``save``, ``load``.
    Device: attach and detach, weights and optimizer state that move implicitly and explicitly, ``rng_state``.

Not reproduced
    Half partial sums, an IPU's order of summation, its random numbers, and stochastic rounding of activations and
    gradients within a micro-batch (those are rounded to nearest). Time, memory, tiles, cycles, profiles: a model too
    large for an IPU runs here. PopART's graph and logs, custom operations, anchors within the graph, weights and
    buffers that differ between replicas, the loading process of the asynchronous data loader (it is a thread).
    Automatic loss scaling follows PopART's documented rule, not its histograms. Python code of a model runs at every
    call rather than once: a model whose code changes its course between calls behaves otherwise here.

Speed
    Micro-batches and replicas run fused, as one run mapped over them, where tracing proved that this is the same but
    for the order of float32 sums (``runners.py``), and where torch can map the code: 2.0 cannot map a cross-entropy
    that leaves labels out, and each runs by itself, as with PODSQUAD_EMULATED_FUSION=off. One process emulates all
    IPUs: PODSQUAD_EMULATED_IPUS of them, 16 by default.
"""

from __future__ import annotations

from . import _impl, _poplar_executor, optim, poptorch_core
from ._logging import logger, setLogLevel
from ._poplar_executor import PoplarExecutor
from .blocks import BeginBlock, Block, BlockFunction, removeBlocks
from .context import isRunningOnIpu
from .data_accessor import AsynchronousDataAccessor
from .data_loader import DataLoader
from .enums import (
    AutoStage,
    CommGroupType,
    ConnectionType,
    DataLoaderMode,
    HalfFloatCastingBehavior,
    Liveness,
    MatMulSerializationMode,
    MeanReductionStrategy,
    MultiConvPlanType,
    OutputMode,
    OverlapMode,
    ReductionType,
    SharingStrategy,
    SyncPattern,
    VariableRetrievalMode,
)
from .errors import Error, RecoverableError, UnrecoverableError, createPoptorchError
from .machine import ipuHardwareIsAvailable, ipuHardwareVersion
from .models import inferenceModel, load, registerPostCompileHook, registerPreCompileHook, trainingModel
from .ops import (
    CPU,
    Attribute,
    NameScope,
    cond,
    custom_op,
    dynamic_slice,
    dynamic_update,
    for_loop,
    identity_loss,
    ipu_print_tensor,
    nop,
    recomputationCheckpoint,
    serializedMatMul,
    set_available_memory,
    set_overlap_for_input,
    set_overlap_for_output,
)
from .optim import LAMB, SGD, Adam, AdamW, RMSprop
from .option_files import ConfigFileError
from .option_groups import TensorLocationSettings
from .options import Options
from .stages import (
    ParallelPhasedExecution,
    Phase,
    PipelinedExecution,
    SerialPhasedExecution,
    ShardedExecution,
    Stage,
)
from .structure import ICustomArgParser, registerCustomArgParser
from .version import __version__

__all__ = [
    "CPU",
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "AsynchronousDataAccessor",
    "Attribute",
    "AutoStage",
    "BeginBlock",
    "Block",
    "BlockFunction",
    "CommGroupType",
    "ConfigFileError",
    "ConnectionType",
    "DataLoader",
    "DataLoaderMode",
    "Error",
    "HalfFloatCastingBehavior",
    "ICustomArgParser",
    "Liveness",
    "MatMulSerializationMode",
    "MeanReductionStrategy",
    "MultiConvPlanType",
    "NameScope",
    "Options",
    "OutputMode",
    "OverlapMode",
    "ParallelPhasedExecution",
    "Phase",
    "PipelinedExecution",
    "PoplarExecutor",
    "RMSprop",
    "RecoverableError",
    "ReductionType",
    "SerialPhasedExecution",
    "ShardedExecution",
    "SharingStrategy",
    "Stage",
    "SyncPattern",
    "TensorLocationSettings",
    "UnrecoverableError",
    "VariableRetrievalMode",
    "__version__",
    "_impl",
    "_poplar_executor",
    "cond",
    "createPoptorchError",
    "custom_op",
    "dynamic_slice",
    "dynamic_update",
    "for_loop",
    "identity_loss",
    "inferenceModel",
    "ipuHardwareIsAvailable",
    "ipuHardwareVersion",
    "ipu_print_tensor",
    "isRunningOnIpu",
    "load",
    "logger",
    "nop",
    "optim",
    "poptorch_core",
    "recomputationCheckpoint",
    "registerCustomArgParser",
    "registerPostCompileHook",
    "registerPreCompileHook",
    "removeBlocks",
    "serializedMatMul",
    "setLogLevel",
    "set_available_memory",
    "set_overlap_for_input",
    "set_overlap_for_output",
    "trainingModel",
]

logger.warning("poptorch %s: an emulation on this machine's CPU, no IPU takes part", __version__)
