"""How a training and a prediction are laid over a POD's IPUs: placement and batch arithmetic.

    IPUs used = IPUs per replica x replicas
    a combined batch = micro-batch x device iterations x replicas x gradient accumulation
    a prediction's = micro-batch x device iterations x replicas

On a POD16 these are 4 x 1 x 4 x 16 = 256 and 2 x 5 x 4 = 40.

The optimizer makes one update per device iteration; what is counted as a step is one call of the
device. Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

POD_IPUS: dict[str, int] = {"pod4": 4, "pod8": 8, "pod16": 16, "pod32": 32, "pod64": 64}


@dataclass(frozen=True)
class ModelSizes:
    """What of an encoder's config decides about memory and placement. All counts but ``hidden_size`` are of things."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    vocab_size: int
    num_positions: int
    num_token_types: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModelSizes | None:
        """Return the sizes that a transformers config tells, as its config.json does; None where it lacks one."""
        try:
            return cls(
                num_layers=int(config["num_hidden_layers"]),
                hidden_size=int(config["hidden_size"]),
                intermediate_size=int(config["intermediate_size"]),
                num_heads=int(config["num_attention_heads"]),
                vocab_size=int(config["vocab_size"]),
                num_positions=int(config["max_position_embeddings"]),
                num_token_types=int(config.get("type_vocab_size", 0)),
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class PodPlan:
    """The layout of one training and of the prediction after it."""

    pod: str
    ipus_per_replica: int
    layers_per_ipu: tuple[int, ...]
    replication: int
    gradient_accumulation: int
    micro_batch: int
    device_iterations: int
    inference_replication: int
    inference_micro_batch: int
    inference_device_iterations: int
    num_hosts: int
    """Hosts that drive the training's IPUs; with more than one the program is started under poprun."""

    @classmethod
    def of(cls, ipu: Mapping[str, Any], batch_size: int) -> PodPlan:
        """Return the plan of the settings' ``ipu`` section.

        What it leaves open is derived: as many replicas as the POD holds (for the prediction, as one host drives), as
        much accumulation as ``batch_size`` needs. Whether the plan can run is not judged here (checks.py).
        """
        ipus_per_replica = int(ipu["ipus_per_replica"])
        per_host = int(ipu["ipus_per_host"])
        room = max(1, POD_IPUS[ipu["pod"]] // ipus_per_replica)
        replication = int(ipu["replication"] or room)
        at_once = int(ipu["micro_batch"]) * replication
        return cls(
            pod=ipu["pod"],
            ipus_per_replica=ipus_per_replica,
            layers_per_ipu=tuple(int(layers) for layers in ipu["layers_per_ipu"]),
            replication=replication,
            gradient_accumulation=int(ipu["gradient_accumulation"] or max(1, batch_size // at_once)),
            micro_batch=int(ipu["micro_batch"]),
            device_iterations=int(ipu["device_iterations"]),
            inference_replication=int(ipu["inference_replication"] or min(room, max(1, per_host // ipus_per_replica))),
            inference_micro_batch=int(ipu["inference_micro_batch"]),
            inference_device_iterations=int(ipu["inference_device_iterations"]),
            num_hosts=-(-ipus_per_replica * replication // per_host),
        )

    @property
    def num_ipus(self) -> int:
        """IPUs that the training uses."""
        return self.ipus_per_replica * self.replication

    @property
    def num_inference_ipus(self) -> int:
        """IPUs that the prediction uses."""
        return self.ipus_per_replica * self.inference_replication

    @property
    def batch(self) -> int:
        """Features of one call of the device in training: the combined batch."""
        return self.micro_batch * self.device_iterations * self.replication * self.gradient_accumulation

    @property
    def inference_batch(self) -> int:
        """Features of one call of the device in prediction: its combined batch."""
        return self.inference_micro_batch * self.inference_device_iterations * self.inference_replication

    @property
    def least_accumulation(self) -> int:
        """Micro-batches that a step needs so that every stage of the pipeline has one, forward and backward."""
        return 2 * self.ipus_per_replica - 1

    def steps(self, num_features: int, epochs: int) -> int:
        """Return the steps of a training; what is left of an epoch after the last full batch is left out."""
        return num_features // self.batch * epochs

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, with what it comes to."""
        return {
            **asdict(self),
            "layers_per_ipu": list(self.layers_per_ipu),
            "num_ipus": self.num_ipus,
            "batch": self.batch,
            "inference_batch": self.inference_batch,
        }

    def arithmetic(self) -> str:
        """Return the training's batch arithmetic in words."""
        return "{} a micro-batch x {} device iteration{} x {} replicas x {} accumulated".format(
            self.micro_batch,
            self.device_iterations,
            "" if self.device_iterations == 1 else "s",
            self.replication,
            self.gradient_accumulation,
        )
