"""An estimate of the memory that a training takes on each IPU, against what a Mk2 IPU has.

Written from how the SDK lays a pipelined training out; no figure was compared with a compiler's report on hardware. The
parts, in bytes:

    weights         16 or 32 bit each
    accumulators    as the weights: one gradient each, for the accumulation
    optimizer       first moment as the weights, second moment 32 bit; shared out among the replicas with replicated
                    tensor sharding, nothing where it is kept off chip
    stash           what a stage keeps of each micro-batch that is under way: 2 x (stages after it) + 1 of them. With
                    recomputation the input of each layer, without it all of the layer's activations
    working         activations of the one layer that is computed, forward or backward
    temporary       the share of the memory that a matrix product may take for itself (ipu.matmul_proportion)
    code            programs, exchange tables, streams: a constant, below

Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan

IPU_BYTES = 900 * 10**6  # of a Mk2's (GC200's) 1,472 tiles together
CODE_BYTES = 100 * 10**6  # assumed: no compiler's report was at hand


@dataclass(frozen=True)
class IpuMemory:
    """Bytes on one IPU of a replica."""

    ipu: int
    weights_bytes: int
    accumulators_bytes: int
    optimizer_bytes: int
    stash_bytes: int
    working_bytes: int
    temporary_bytes: int
    code_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return sum(value for name, value in asdict(self).items() if name.endswith("_bytes"))

    def as_json(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return {**asdict(self), "total_bytes": self.total_bytes}


def estimate_ipus(
    plan: PodPlan, sizes: ModelSizes, ipu: Mapping[str, Any], *, max_length: int, precision: str
) -> list[IpuMemory]:
    """Return the estimate for each IPU of a replica, in order.

    ``ipu`` is the settings' section, ``max_length`` in tokens, ``precision`` "float16" or "float32". The plan's layers
    must be one number per IPU.
    """
    width = 2 if precision == "float16" else 4
    shares = list(ipu["matmul_proportion"])
    shares = shares * plan.ipus_per_replica if len(shares) == 1 else shares
    tokens = plan.micro_batch * max_length
    hidden_bytes = tokens * sizes.hidden_size * width
    layer_bytes = activations_of_layer(sizes, plan.micro_batch, max_length) * width
    moments = 0 if ipu["optimizer_state_offchip"] else width + 4
    sharing = plan.replication if ipu["replicated_tensor_sharding"] else 1
    estimates = []
    for place, layers in enumerate(plan.layers_per_ipu):
        parameters = layers * parameters_of_layer(sizes)
        if place == 0:
            parameters += parameters_of_embeddings(sizes)
        if place == plan.ipus_per_replica - 1:
            parameters += 2 * sizes.hidden_size + 2
        under_way = 2 * (plan.ipus_per_replica - 1 - place) + 1
        kept = max(1, layers) * hidden_bytes if ipu["recompute"] else hidden_bytes + layers * layer_bytes
        estimates.append(
            IpuMemory(
                ipu=place,
                weights_bytes=parameters * width,
                accumulators_bytes=parameters * width,
                optimizer_bytes=parameters * moments // sharing,
                stash_bytes=under_way * kept,
                working_bytes=layer_bytes if layers else 3 * hidden_bytes,
                temporary_bytes=int(shares[place] * IPU_BYTES) if layers else 0,
                code_bytes=CODE_BYTES,
            )
        )
    return estimates


def parameters_of_layer(sizes: ModelSizes) -> int:
    """Return the parameters of one encoder layer: four projections, two feed-forward products, two normalisations."""
    hidden, inner = sizes.hidden_size, sizes.intermediate_size
    return 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden


def parameters_of_embeddings(sizes: ModelSizes) -> int:
    """Return the parameters of the embeddings and their normalisation."""
    return (sizes.vocab_size + sizes.num_positions + sizes.num_token_types + 2) * sizes.hidden_size


def activations_of_layer(sizes: ModelSizes, micro_batch: int, max_length: int) -> int:
    """Return how many numbers a layer's backward pass needs of its forward pass.

    Per token its input, query, key, value, attention's result, two sums before and two after normalisation, and the
    inner layer before and after its activation function; per head the scores, their softmax and what dropout leaves.
    """
    tokens = micro_batch * max_length
    return tokens * (9 * sizes.hidden_size + 2 * sizes.intermediate_size) + 3 * tokens * sizes.num_heads * max_length


def assumptions(plan: PodPlan, sizes: ModelSizes, ipu: Mapping[str, Any], *, max_length: int, precision: str) -> str:
    """Return what the estimate rests on, in words."""
    kept = "each layer's input alone" if ipu["recompute"] else "all activations"
    state = "off chip" if ipu["optimizer_state_offchip"] else "on chip"
    shared = f", shared among {plan.replication} replicas" if ipu["replicated_tensor_sharding"] else ""
    return (
        "{} weights, accumulators and first moment, float32 second moment, the moments {}{}; {} kept of {} x {} tokens "
        "for up to {} micro-batches under way; {} of an IPU for a product's temporary results; {} MB of code; an "
        "estimate, never compared with a compiler's report".format(
            precision,
            state,
            shared,
            kept,
            plan.micro_batch,
            max_length,
            2 * plan.ipus_per_replica - 1,
            " / ".join(f"{share:g}" for share in ipu["matmul_proportion"]),
            CODE_BYTES // 10**6,
        )
    )
