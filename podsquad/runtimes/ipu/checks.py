"""Whether a plan can run, before anything is compiled: each check with what it found and the setting to change.

Pure functions, called by the pre-flight in the flow's interpreter and again by the compile verb. Runs on Python 3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podsquad.errors import SettingsError
from podsquad.runtimes.ipu.memory import IPU_BYTES, estimate_ipus
from podsquad.runtimes.ipu.pod import POD_IPUS, ModelSizes, PodPlan


@dataclass(frozen=True)
class PodCheck:
    """One check and what it came to; ``why`` and ``do`` are empty where it passed."""

    name: str
    passed: bool
    found: str
    why: str = ""
    do: str = ""

    def error(self) -> SettingsError:
        """Return the error that a failed check stands for."""
        return SettingsError(self.found, why=self.why, do=self.do)


def check_plan(
    plan: PodPlan,
    settings: Mapping[str, Any],
    *,
    max_length: int,
    sizes: ModelSizes | None = None,
    num_features: int | None = None,
) -> list[PodCheck]:
    """Return the checks that can be made; what is None is not known yet, and what needs it is left out."""
    checks = [_ipus(plan), _pipeline(plan, settings), _batch(plan, settings), *_recipe(settings)]
    placement = _placement(plan, sizes)
    checks.append(placement)
    if num_features is not None:
        checks.append(_features(plan, num_features))
    if sizes is not None and placement.passed:
        checks.extend(_memory(plan, settings, sizes, max_length))
    return checks


def check_prediction(plan: PodPlan, sizes: ModelSizes | None) -> list[PodCheck]:
    """Return the checks that concern a prediction: IPUs and placement. Those of a training are not made."""
    return [_ipus(plan), _placement(plan, sizes)]


def raise_first_failure(checks: list[PodCheck]) -> None:
    """Raise SettingsError for the first check that did not pass."""
    for check in checks:
        if not check.passed:
            raise check.error()


def _ipus(plan: PodPlan) -> PodCheck:
    there = POD_IPUS[plan.pod]
    for prefix, used, replicas in (
        ("", plan.num_ipus, plan.replication),
        ("inference_", plan.num_inference_ipus, plan.inference_replication),
    ):
        if used > there:
            larger = next((name for name, count in POD_IPUS.items() if count >= used), None)
            return PodCheck(
                "IPUs",
                False,
                f"ipu.ipus_per_replica {plan.ipus_per_replica} x ipu.{prefix}replication {replicas} takes {used} IPUs, "
                f"but {plan.pod} has {there}",
                why="every replica lies on IPUs of its own",
                do="set ipu.{}replication to {} or lower{}".format(
                    prefix,
                    max(1, there // plan.ipus_per_replica),
                    f", or ipu.pod={larger}" if larger else "",
                )
                if plan.ipus_per_replica <= there
                else "lower ipu.ipus_per_replica",
            )
    idle = there - plan.num_ipus
    return PodCheck(
        "IPUs",
        True,
        f"{plan.replication} replicas x {plan.ipus_per_replica} IPUs = {plan.num_ipus} of {plan.pod}'s {there}"
        + (f"; {idle} stay idle" if idle else ""),
    )


def _pipeline(plan: PodPlan, settings: Mapping[str, Any]) -> PodCheck:
    least = plan.least_accumulation
    if plan.gradient_accumulation < least:
        # What training.batch_size counts of one accumulated micro-batch: it is of one device iteration.
        at_once = plan.batch // plan.gradient_accumulation // plan.device_iterations
        return PodCheck(
            "pipeline",
            False,
            f"gradient accumulation is {plan.gradient_accumulation}, but a pipeline of {plan.ipus_per_replica} IPUs "
            f"needs {least} or more",
            why="2 x stages - 1 micro-batches are under way in a full pipeline",
            do="set training.batch_size to {} or more{}, or lower ipu.micro_batch, ipu.replication or "
            "ipu.ipus_per_replica".format(
                at_once * least,
                f" and ipu.gradient_accumulation to {least} or more"
                if settings["ipu"]["gradient_accumulation"]
                else "",
            ),
        )
    return PodCheck("pipeline", True, f"{plan.gradient_accumulation} micro-batches accumulated, {least} needed")


def _batch(plan: PodPlan, settings: Mapping[str, Any]) -> PodCheck:
    wanted = int(settings["training"]["batch_size"]) * plan.device_iterations
    if plan.batch != wanted:
        return PodCheck(
            "batch",
            False,
            f"training.batch_size {wanted // plan.device_iterations} is not what the plan comes to: "
            f"{plan.arithmetic()} = {plan.batch} features",
            why="the learning rate belongs to a batch size, so that one is not changed silently",
            do=f"set training.batch_size={plan.batch // plan.device_iterations}, or change ipu.micro_batch, "
            "ipu.replication or ipu.gradient_accumulation",
        )
    if plan.num_hosts > 1 and plan.replication % plan.num_hosts:
        return PodCheck(
            "batch",
            False,
            f"ipu.replication {plan.replication} cannot be shared out evenly among {plan.num_hosts} hosts",
            why="poprun starts one process per host, each with as many replicas",
            do=f"set ipu.replication to a multiple of {plan.num_hosts}, or ipu.ipus_per_host",
        )
    return PodCheck(
        "batch",
        True,
        f"{plan.arithmetic()} = {plan.batch} features; prediction: {plan.inference_micro_batch} x "
        f"{plan.inference_device_iterations} x {plan.inference_replication} = {plan.inference_batch}",
    )


def _recipe(settings: Mapping[str, Any]) -> Iterator[PodCheck]:
    training, ipu = settings["training"], settings["ipu"]
    if training["max_gradient_norm"] is not None:
        yield PodCheck(
            "recipe",
            False,
            "training.max_gradient_norm is {:g}, but gradients cannot be clipped on IPUs".format(
                training["max_gradient_norm"]
            ),
            why="optimum-graphcore's trainer ignores it, and so did the reference run",
            do="set training.max_gradient_norm=none",
        )
    elif not training["drop_last"]:
        yield PodCheck(
            "recipe",
            False,
            "training.drop_last is false, but on IPUs an epoch's last, smaller batch is always left out",
            why="a compiled program takes batches of one size",
            do="set training.drop_last=true",
        )
    elif not ipu["bias_correction"] and not settings["runtime"]["emulated"]:
        yield PodCheck(
            "recipe",
            False,
            "ipu.bias_correction is false, which the SDK does not heed",
            why="since SDK 2.4 poptorch lowers AdamW with and without it to the same, bias-corrected Adam",
            do="set ipu.bias_correction=true",
        )
    else:
        yield PodCheck("recipe", True, "no clipping, whole batches, {} arithmetic".format(training["precision"]))


def _placement(plan: PodPlan, sizes: ModelSizes | None) -> PodCheck:
    told = ", ".join(map(str, plan.layers_per_ipu))
    if len(plan.layers_per_ipu) != plan.ipus_per_replica:
        return PodCheck(
            "layers",
            False,
            f"ipu.layers_per_ipu names {len(plan.layers_per_ipu)} IPUs ({told}), but ipu.ipus_per_replica is "
            f"{plan.ipus_per_replica}",
            why="it takes one number of layers for each IPU of a replica",
            do=f"set ipu.layers_per_ipu to {plan.ipus_per_replica} numbers, or "
            f"ipu.ipus_per_replica={len(plan.layers_per_ipu)}",
        )
    if sizes is None:
        return PodCheck("layers", True, f"{told} on the IPUs of a replica; the model's own are not known yet")
    if sum(plan.layers_per_ipu) != sizes.num_layers:
        return PodCheck(
            "layers",
            False,
            f"ipu.layers_per_ipu adds up to {sum(plan.layers_per_ipu)} layers ({told}), but the model has "
            f"{sizes.num_layers}",
            why="every layer lies on one IPU",
            do=f"change ipu.layers_per_ipu so that it adds up to {sizes.num_layers}",
        )
    return PodCheck("layers", True, f"{sizes.num_layers} layers as {told} on the IPUs of a replica")


def _features(plan: PodPlan, num_features: int) -> PodCheck:
    if num_features < plan.batch:
        return PodCheck(
            "features",
            False,
            f"the {num_features:,} training features do not fill one batch of {plan.batch}",
            why="a compiled program takes batches of one size, and what does not fill one is left out",
            do="train on more questions, or lower training.batch_size",
        )
    return PodCheck("features", True, f"{num_features:,} training features, {plan.batch} in a batch")


def _memory(plan: PodPlan, settings: Mapping[str, Any], sizes: ModelSizes, max_length: int) -> Iterator[PodCheck]:
    shares = settings["ipu"]["matmul_proportion"]
    if len(shares) not in (1, plan.ipus_per_replica):
        yield PodCheck(
            "memory",
            False,
            f"ipu.matmul_proportion names {len(shares)} shares for {plan.ipus_per_replica} IPUs",
            why="it takes one share for all IPUs of a replica, or one for each",
            do=f"set ipu.matmul_proportion to 1 or {plan.ipus_per_replica} numbers",
        )
        return
    precision = settings["training"]["precision"]
    ipus = estimate_ipus(plan, sizes, settings["ipu"], max_length=max_length, precision=precision)
    fullest = max(ipus, key=lambda each: each.total_bytes)
    told = (
        f"about {fullest.total_bytes / 1e6:,.0f} of {IPU_BYTES / 1e6:,.0f} MB on IPU {fullest.ipu} of a replica, the "
        "fullest"
    )
    if fullest.total_bytes <= IPU_BYTES:
        yield PodCheck("memory", True, told)
        return
    parts = {
        "ipu.micro_batch": fullest.stash_bytes + fullest.working_bytes,
        "ipu.matmul_proportion": fullest.temporary_bytes,
        "the layers on that IPU (ipu.layers_per_ipu)": fullest.weights_bytes + fullest.accumulators_bytes,
    }
    ways = ["lower " + name for name in sorted(parts, key=lambda name: -parts[name])]
    if not settings["ipu"]["recompute"]:
        ways.insert(0, "set ipu.recompute=true")
    if not settings["ipu"]["replicated_tensor_sharding"] and plan.replication > 1:
        ways.append("set ipu.replicated_tensor_sharding=true")
    if fullest.optimizer_bytes:
        ways.append("set ipu.optimizer_state_offchip=true")
    yield PodCheck(
        "memory",
        False,
        told,
        why="it does not fit, by an estimate (docs/ipu.md tells its parts)",
        do="; or ".join(ways),
    )
