"""What the compiler refuses: too little accumulation for a pipeline, too many IPUs, what the emulator lacks."""

from __future__ import annotations

from typing import Any

from . import loss_scaling, machine
from ._logging import logger
from .batching import BatchLayout
from .enums import ConnectionType
from .errors import compiler_error
from .stages import PipelinedExecution
from .trace import Trace

_MOST_IPUS = 64


def check_pipeline(trace: Trace, layout: BatchLayout, options: Any, training: bool) -> None:
    """Raise Error when a pipeline has more stages than micro-batches flow through it.

    Training has a backward stage for each forward stage but the last: 2 * stages - 1.
    """
    if options._execution_strategy.mode != PipelinedExecution.mode:
        return
    forward = trace.num_stages
    if training and layout.accumulation < 2 * forward - 1:
        raise compiler_error(
            "poptorch.Options().Training.gradientAccumulation must be greater than or equal to the number of pipeline "
            "stages ({}) when using poptorch.PipelinedExecution. Please note that a model with {} pipeline stages in "
            "PopTorch will have an additional {} stages when training.".format(2 * forward - 1, forward, forward - 1)
        )
    if not training and layout.device_iterations < forward:
        raise compiler_error(
            "poptorch.Options().deviceIterations must be greater than or equal to the {} stages of the pipeline, which "
            "would not fill otherwise".format(forward)
        )


def num_ipus_reserved(trace: Trace, options: Any) -> int:
    """The IPUs to hold: those of all replicas, rounded to a power of two where the options allow that.

    Raises Error when they do not, or when there are more than a process or the machine has.
    """
    wanted = trace.num_ipus * options.replication_factor
    rounded = 1
    while rounded < wanted:
        rounded *= 2
    if rounded != wanted and not options.auto_round_num_ipus:
        raise compiler_error(
            "The model specifies the use of {} IPUs, however PopTorch must reserve a minimum of {} in order to allow "
            "the model to run, because PopTorch must reserve a power of 2 or maximum of {} IPUs per process. Please "
            "reconfigure your model to use a different number of IPUs or set "
            "poptorch.Options().autoRoundNumIPUs(True).".format(wanted, rounded, _MOST_IPUS)
        )
    if rounded != wanted:
        logger.warning(
            "%d IPUs are held for a model of %d: a process holds a power of two, so %d are idle",
            rounded,
            wanted,
            rounded - wanted,
        )
    if rounded > _MOST_IPUS:
        raise compiler_error("Too many IPUs requested ({}): a process holds {} at most".format(rounded, _MOST_IPUS))
    offline = options.chosen("ipu_version") is not None
    if rounded > machine.ipus_there() and not offline:
        raise compiler_error(
            "Failed to acquire {} IPU(s): the emulated machine has {} ({} says how many)".format(
                rounded, machine.ipus_there(), machine.NUM_IPUS_VARIABLE
            )
        )
    return rounded


def check_supported(options: Any, training: bool) -> None:
    """Raise Error for what the emulator would have to leave out silently.

    That is anchors of a graph that it does not have (the final loss scale alone is known), buffers per replica, and
    processes that train together: here they would train apart.
    """
    unknown = [anchor[0] for anchor in options.anchored_tensors.values() if anchor[0] != loss_scaling.ANCHOR]
    if unknown:
        raise compiler_error("The emulator has no PopART graph to anchor tensors of: {}".format(", ".join(unknown)))
    if not options.broadcast_buffers and options.replication_factor > 1:
        raise compiler_error("The emulator has no buffers that differ by replica: leave broadcastBuffers at True")
    if training and options.Distributed.numProcesses > 1 and options.connection_type != ConnectionType.Never:
        raise compiler_error(
            "The emulator trains in one process: it has all IPUs ({} says how many), so start it without poprun".format(
                machine.NUM_IPUS_VARIABLE
            )
        )
