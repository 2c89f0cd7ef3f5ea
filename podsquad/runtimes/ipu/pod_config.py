"""optimum-graphcore's configuration of a POD, made from the plan, with what it leaves out of poptorch's options.

It sets the device's seed only where that is not 0, always rounds stochastically in training, and knows of one host.
Needs the SDK's poptorch, or the emulation's. Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimum.graphcore import IPUConfig, IPUTrainingArguments

from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.pod import PodPlan


class PodConfig(IPUConfig):  # type: ignore[misc]
    """An IPUConfig that honours seed 0, lets stochastic rounding be switched off, and runs on several hosts."""

    def __init__(self, *, device_seed: int, rounds_stochastically: bool, instance: Instance, **given: Any) -> None:
        super().__init__(**given)
        self.device_seed = device_seed
        self.rounds_stochastically = rounds_stochastically
        self.instance = instance

    def _to_options(self, for_inference: bool = False, compile_only: bool = False) -> Any:
        options = super()._to_options(for_inference=for_inference, compile_only=compile_only)
        if not for_inference:  # prediction is one host's
            self.instance.configure(
                options,
                replicas=self.replication_factor,
                ipus_per_replica=self.ipus_per_replica,
                attaches=not compile_only,
            )
        options.randomSeed(self.device_seed)
        options.Precision.enableStochasticRounding(self.rounds_stochastically and not for_inference)
        return options


def make_pod_config(
    plan: PodPlan, ipu: Mapping[str, Any], *, seed: int, programs: Path, instance: Instance
) -> PodConfig:
    """Return the configuration of the plan; ``ipu`` is the settings' section.

    ``programs`` is the folder in which poptorch looks for compiled programs and keeps new ones.
    """
    shares = list(ipu["matmul_proportion"])
    return PodConfig(
        device_seed=seed,
        rounds_stochastically=bool(ipu["stochastic_rounding"]),
        instance=instance,
        layers_per_ipu=list(plan.layers_per_ipu),
        ipus_per_replica=plan.ipus_per_replica,
        replication_factor=plan.replication,
        inference_replication_factor=plan.inference_replication,
        gradient_accumulation_steps=plan.gradient_accumulation,
        device_iterations=plan.device_iterations,
        inference_device_iterations=plan.inference_device_iterations,
        matmul_proportion=shares[0] if len(shares) == 1 else shares,
        recompute_checkpoint_every_layer=bool(ipu["recompute"]),
        replicated_tensor_sharding=bool(ipu["replicated_tensor_sharding"]) and plan.replication > 1,
        optimizer_state_offchip=bool(ipu["optimizer_state_offchip"]),
        enable_half_partials=bool(ipu["half_partials"]),
        embedding_serialization_factor=int(ipu["embedding_serialization"]),
        output_mode="final",
        executable_cache_dir=str(programs),
    )


def make_arguments(plan: PodPlan, settings: Mapping[str, Any], *, folder: Path, compile_only: bool) -> Any:
    """Return the trainer's arguments for the settings' recipe; ``folder`` is for what it writes of its own accord."""
    training = settings["training"]
    return IPUTrainingArguments(
        output_dir=str(folder),
        do_train=compile_only,
        do_eval=compile_only,
        compile_only=compile_only,
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.inference_micro_batch,
        num_train_epochs=training["epochs"],
        learning_rate=training["learning_rate"],
        lr_scheduler_type="linear",
        warmup_ratio=training["warmup_share"],
        weight_decay=training["weight_decay"],
        adam_beta1=training["beta1"],
        adam_beta2=training["beta2"],
        adam_epsilon=training["epsilon"],
        loss_scaling=settings["ipu"]["loss_scaling"],
        fp32=training["precision"] == "float32",
        seed=training["seed"] % 2**32,  # numpy's generators take no more
        logging_strategy="no",
        save_strategy="no",
        evaluation_strategy="no",
        ignore_data_skip=True,  # the sampler begins where the checkpoint ended
        remove_unused_columns=False,
        dataloader_num_workers=0,  # rows are gathered from a memory map: a fraction of a millisecond per micro-batch
        disable_tqdm=True,
        log_level="warning",
        report_to="none",
    )
