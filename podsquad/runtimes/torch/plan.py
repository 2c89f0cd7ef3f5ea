"""The executable's plan: what the compile stage decides and training and prediction keep to.

plan.json is a function of the settings that shape the compile stage, the features' layout and the model's config: no
epochs, no learning rates, no times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from podsquad.errors import DataError, SettingsError
from podsquad.runtimes.batch_plan import BatchPlan, estimate_memory, plan_batches
from podsquad.runtimes.torch.attention_route import FLASH, decide_attention
from podsquad.runtimes.torch.probe import decide_formulation
from podsquad.runtimes.torch.static import decide_static_size

FORMAT_VERSION = 4
PADDED = "padded"
# 512, 1024 and 2048 compared on steps of 32 features, 177 tokens each on average, of a 128-wide model, without filler:
# 512 took 24 % longer than 2048, 1024 took 3 %. 1024 holds half of what 2048 does in memory. A 384-wide model's step of
# 64 features was within 4 % at 1024, 1536 and 2048 with the same share of filler (packing.py).
CPU_MICRO_BATCH_TOKENS = 1024


def make_plan(
    settings: Mapping[str, Any], layout: Mapping[str, Any], config: Any, lengths: np.ndarray
) -> dict[str, Any]:
    """Return the plan as JSON values; ``lengths`` are the tokens of each training feature. The device must be there.

    Raises DataError or SettingsError from the batch arithmetic, and SettingsError when the encoder cannot run packed
    though the settings ask for it.
    """
    training, runtime = settings["training"], settings["runtime"]
    batches = _batches(settings, layout)
    formulation, formulation_reason = decide_formulation(runtime["formulation"], config)
    attention, attention_reason = PADDED, "the model runs padded, with transformers' own"
    if formulation == "packed":
        attention, attention_reason = decide_attention(config, torch.device(runtime["device"]), training["precision"])
    compiled, compiled_reason = decide_compiled(runtime["compiled"], runtime["device"], attention)
    micro_batch_reason = decide_micro_batch_tokens(
        training["micro_batch_tokens"], runtime["device"], batches.longest_tokens
    )[1]
    size, size_reason = None, "nothing is compiled"
    if compiled:
        balanced: bool = training["balanced"]
        size, size_reason = decide_static_size(batches, lengths, runtime["processes"], balanced=balanced)
    num_parameters = count_parameters(config)
    step_tokens = min(batches.micro_batch_tokens, batches.batch_size * batches.longest_tokens)
    memory = estimate_memory(
        num_parameters,
        tokens=size.tokens if size else step_tokens,
        hidden_size=config.hidden_size,
        intermediate_size=getattr(config, "intermediate_size", 4 * config.hidden_size),
        num_layers=config.num_hidden_layers,
        activation_bytes=4 if training["precision"] == "float32" else 2,
    )
    return {
        "format_version": FORMAT_VERSION,
        "device": runtime["device"],
        "precision": training["precision"],
        "processes": runtime["processes"],
        "formulation": {"value": formulation, "reason": formulation_reason},
        "attention": {"value": attention, "reason": attention_reason},
        "compiled": {"value": compiled, "reason": compiled_reason},
        "static_size": {"value": size and size.as_json(), "reason": size_reason},
        "num_parameters": num_parameters,
        "batches": batches.as_json(),
        "micro_batch_tokens": {"value": batches.micro_batch_tokens, "reason": micro_batch_reason},
        "memory": memory.as_json(),
    }


def decide_micro_batch_tokens(asked: int, device: str, longest: int) -> tuple[int, str]:
    """Return how many tokens go through the model at once, at most ``asked``, and why."""
    if device != "cpu" or asked <= CPU_MICRO_BATCH_TOKENS:
        return asked, "training.micro_batch_tokens says so"
    value = min(asked, max(CPU_MICRO_BATCH_TOKENS, longest))
    return value, "on a CPU more at once takes more memory and hardly less time"


def _batches(settings: Mapping[str, Any], layout: Mapping[str, Any]) -> BatchPlan:
    training = settings["training"]
    batches = plan_batches(layout, training["batch_size"], training["micro_batch_tokens"])
    tokens, _ = decide_micro_batch_tokens(
        training["micro_batch_tokens"], settings["runtime"]["device"], batches.longest_tokens
    )
    return replace(batches, micro_batch_tokens=tokens)


def decide_compiled(asked: str, device: str, attention: str) -> tuple[bool, str]:
    """Return whether the model's program is compiled, and why; ``attention`` is flash, grouped or padded.

    Raises SettingsError for "always" where micro-batches cannot be of one size.
    """
    if asked == "never":
        return False, "runtime.compiled says never"
    reason = None
    if attention == PADDED:
        reason = "the model runs padded, and its micro-batches are of many sizes"
    elif device == "cuda" and attention != FLASH:
        reason = "attention goes by groups, which differ from step to step (plan.json says why)"
    if reason is not None:
        if asked == "always":
            raise SettingsError(
                f"runtime.compiled is always, but {reason}",
                why="only micro-batches of one size are compiled",
                do="set runtime.compiled=never; or runtime.formulation=packed for an encoder that can, and "
                "training.precision=bfloat16 on a GPU",
            )
        return False, reason
    if asked == "always":
        return True, "runtime.compiled says always"
    if device == "cpu":
        return False, "on a CPU compiling takes longer than it saves, and oneDNN's products are out of its reach"
    return True, "compiled once, kept in the executable, reused by training"


def check_plan(plan: Mapping[str, Any], settings: Mapping[str, Any], layout: Mapping[str, Any]) -> BatchPlan:
    """Return the plan's batches. Raises DataError when it was made for other features or settings."""
    training, runtime = settings["training"], settings["runtime"]
    batches = _batches(settings, layout)
    differences = [name for name, value in batches.as_json().items() if plan["batches"].get(name) != value]
    wanted = {"precision": training["precision"], "processes": runtime["processes"]}
    differences += [name for name, value in wanted.items() if plan[name] != value]
    if runtime["formulation"] not in ("auto", plan["formulation"]["value"]):
        differences.append("formulation")
    if differences:
        raise DataError(
            f"the executable's plan does not fit these features and settings: {', '.join(differences)} differ",
            why="it was made for others",
            do="delete that executable; the next run makes it again",
        )
    return batches


def count_parameters(config: Any) -> int:
    """Return the number of the question-answering model's parameters, without making them."""
    from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

    with torch.device("meta"):
        model = AutoModelForQuestionAnswering.from_config(config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in model.parameters())
