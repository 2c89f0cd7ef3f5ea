"""The settings of a Graphcore POD: how the model is laid over its IPUs, and the batch arithmetic.

The defaults are those that ``Graphcore/roberta-base-ipu`` comes to on a POD16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from podsquad.config.section import Section, run_only, setting

PodName = Literal["pod4", "pod8", "pod16", "pod32", "pod64"]
_IPU = ("runtime.name", "ipu")


class IpuSettings(Section):
    """How a model is trained on a POD; read where runtime.name is "ipu"."""

    pod: PodName = setting("pod16", shapes=("compile", "train", "evaluate"), when=_IPU)
    """The POD by name; its number is that of its IPUs."""
    ipus_per_host: int = setting(64, shapes=("compile", "train", "evaluate"), when=_IPU, ge=1)
    """IPUs that one host drives; where the plan takes more, the program is started under poprun, once per host."""
    ipus_per_replica: int = setting(4, shapes=("compile", "train", "evaluate"), when=_IPU, ge=1, le=64)
    """IPUs over which one copy of the model is laid: the stages of its pipeline."""
    layers_per_ipu: tuple[int, ...] = setting((0, 4, 4, 4), shapes=("compile", "train", "evaluate"), when=_IPU)
    """Encoder layers on each IPU of a replica; the embeddings are on the first, the head on the last; with commas
    between them."""
    replication: int | None = setting(None, shapes=("compile", "train"), when=_IPU, ge=1)
    """Copies of the model in training; nothing: as many as the POD holds."""
    gradient_accumulation: int | None = setting(None, shapes=("compile", "train"), when=_IPU, ge=1)
    """Micro-batches of each replica in one step; nothing: as many as make up training.batch_size."""
    micro_batch: int = setting(4, shapes=("compile", "train"), when=_IPU, ge=1)
    """Features that go through a replica at once in training."""
    device_iterations: int = setting(1, shapes=("compile", "train"), when=_IPU, ge=1)
    """Steps that the device makes before it answers the host."""
    inference_replication: int | None = setting(None, shapes=("compile", "evaluate"), when=_IPU, ge=1)
    """Copies of the model in prediction, which one host drives; nothing: as many as it has room for."""
    inference_micro_batch: int = setting(2, shapes=("compile", "evaluate"), when=_IPU, ge=1)
    """Features that go through a replica at once in prediction."""
    inference_device_iterations: int = setting(5, shapes=("compile", "evaluate"), when=_IPU, ge=1)
    """Micro-batches of each replica that the device predicts before it answers the host."""
    loss_scaling: float = setting(64.0, shapes=("train",), when=_IPU, gt=0.0)
    """Factor of the loss before the backward pass, taken out before the update: float16 gradients do not vanish."""
    stochastic_rounding: bool = setting(True, shapes=("compile", "train"), when=_IPU)
    """Round float16 results up or down by chance, in training: updates below half a unit of a weight's last place are
    not lost."""
    bias_correction: bool = setting(True, shapes=("compile", "train"), when=_IPU)
    """Correct Adam's moments for their start at zero, as the SDK does since 2.4 whatever it is told; false is for the
    emulator alone."""
    half_partials: bool = setting(True, shapes=("compile", "train", "evaluate"), when=_IPU)
    """Keep partial sums of matrix products in float16; the emulator does not."""
    matmul_proportion: tuple[float, ...] = setting((0.25,), shapes=("compile", "train", "evaluate"), when=_IPU)
    """Share of an IPU's memory that a matrix product may take for itself: one for all IPUs, or one for each."""
    recompute: bool = setting(True, shapes=("compile", "train"), when=_IPU)
    """Keep each layer's input alone and compute the rest again in the backward pass."""
    replicated_tensor_sharding: bool = setting(True, shapes=("compile", "train"), when=_IPU)
    """Share the optimizer's state out among the replicas."""
    optimizer_state_offchip: bool = setting(False, shapes=("compile", "train"), when=_IPU)
    """Keep the optimizer's state in the host's memory."""
    embedding_serialization: int = setting(1, shapes=("compile", "train", "evaluate"), when=_IPU, ge=1)
    """Pieces in which the token embedding is looked up."""
    config_file: Path | None = setting(None, shapes=("compile", "train", "evaluate"), when=_IPU, content=True)
    """An ipu_config.json whose values go before those of this section; an older form is brought up to date."""
    hosts: tuple[str, ...] = run_only(())
    """Names of the hosts for poprun, with commas between them; none: as the system is set up."""
    partition: str | None = run_only(None)
    """V-IPU partition for poprun; nothing: as the system is set up."""

    @field_validator("layers_per_ipu", "matmul_proportion", "hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part for each in value.strip("[]()").split(",") if (part := each.strip()))
        return (value,) if isinstance(value, int | float) else value

    @field_validator("layers_per_ipu")
    @classmethod
    def _no_negative_layers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 0:
            raise ValueError("it takes one number of layers, 0 or more, for each IPU of a replica")
        return value

    @field_validator("matmul_proportion")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0.0 < share <= 1.0 for share in value):
            raise ValueError("each share is more than 0 and at most 1")
        return value
