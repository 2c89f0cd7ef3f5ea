"""The executable's plan: what the compile stage decides and training and prediction keep to.

plan.json is a function of the settings that shape the compile stage, the features' layout and the model's config: no
epochs, no learning rates, no times.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podsquad.errors import DataError, SettingsError
from podsquad.runtimes.batch_plan import BatchPlan, estimate_memory, plan_batches
from podsquad.runtimes.torch.attention import PADDED_ATTENTION
from podsquad.runtimes.torch.model import attention_of
from podsquad.runtimes.torch.reader import InputForm, token_logits

PLAN_FILE = "plan.json"
FORMAT_VERSION = 1
PROBE_LENGTHS = (5, 9, 9, 16)
PROBE_LAYERS = 2
PROBE_TOLERANCE = 1e-4
# 512, 1024, 2048 and 8192 compared on steps of 32 features, 116 tokens each on average, of a 128-wide model.
CPU_MICRO_BATCH_TOKENS = 2048


def make_plan(settings: Mapping[str, Any], layout: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return the plan as JSON values.

    Raises DataError or SettingsError from the batch arithmetic, and SettingsError when the encoder cannot run packed
    though the settings ask for it.
    """
    training, runtime = settings["training"], settings["runtime"]
    batches = _batches(settings, layout)
    compiled, compiled_reason = decide_compiled(runtime["compiled"], runtime["device"])
    micro_batch_reason = decide_micro_batch_tokens(
        training["micro_batch_tokens"], runtime["device"], batches.longest_tokens
    )[1]
    formulation_reason = "runtime.formulation says so"
    if runtime["formulation"] == "packed":
        difference = probe_packed(config)
        formulation_reason = (
            f"runtime.formulation says so, and the logits of {len(PROBE_LENGTHS)} probes are those of the padded model"
            if difference <= PROBE_TOLERANCE
            else ""
        )
    num_parameters = count_parameters(config)
    step_tokens = min(batches.micro_batch_tokens, batches.batch_size * batches.longest_tokens)
    memory = estimate_memory(
        num_parameters,
        tokens=step_tokens,
        hidden_size=config.hidden_size,
        intermediate_size=getattr(config, "intermediate_size", 4 * config.hidden_size),
        num_layers=config.num_hidden_layers,
        activation_bytes=4 if training["precision"] == "float32" else 2,
    )
    return {
        "format_version": FORMAT_VERSION,
        "device": runtime["device"],
        "precision": training["precision"],
        "formulation": {"value": runtime["formulation"], "reason": formulation_reason},
        "compiled": {"value": compiled, "reason": compiled_reason},
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
    return value, "what a layer makes of them still lies in a CPU core's cache; more at once took 7 to 17 % longer"


def _batches(settings: Mapping[str, Any], layout: Mapping[str, Any]) -> BatchPlan:
    training = settings["training"]
    batches = plan_batches(layout, training["batch_size"], training["micro_batch_tokens"])
    tokens, _ = decide_micro_batch_tokens(
        training["micro_batch_tokens"], settings["runtime"]["device"], batches.longest_tokens
    )
    return replace(batches, micro_batch_tokens=tokens)


def decide_compiled(asked: str, device: str) -> tuple[bool, str]:
    """Return whether the model's program is compiled, and why."""
    if asked == "never":
        return False, "runtime.compiled says never"
    if asked == "always":
        return True, "runtime.compiled says always"
    if device == "cpu":
        return False, "on a CPU compiling takes longer than it saves, and oneDNN's products are out of its reach"
    return True, "compiled once, kept in the executable, reused by training"


def read_plan(executable: Path) -> dict[str, Any]:
    """Return an executable's plan. Raises DataError when there is none that this version reads."""
    path = executable / PLAN_FILE
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = plan["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read the plan {path}: {error}", do="delete that executable; the next run makes it again"
        ) from error
    if version != FORMAT_VERSION:
        raise DataError(
            f"the plan {path} has format {version}, not {FORMAT_VERSION}",
            why="another version of podsquad made it",
            do="delete that executable; the next run makes it again",
        )
    return plan


def check_plan(plan: Mapping[str, Any], settings: Mapping[str, Any], layout: Mapping[str, Any]) -> BatchPlan:
    """Return the plan's batches. Raises DataError when it was made for other features or settings."""
    training, runtime = settings["training"], settings["runtime"]
    batches = _batches(settings, layout)
    differences = [name for name, value in batches.as_json().items() if plan["batches"].get(name) != value]
    wanted = (("device", runtime["device"]), ("precision", training["precision"]))
    differences += [name for name, value in wanted if plan[name] != value]
    if plan["formulation"]["value"] != runtime["formulation"]:
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
        model = AutoModelForQuestionAnswering.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def probe_packed(config: Any) -> float:
    """Return how far packed logits of a few random sequences are from padded ones, with new float32 weights.

    The guard against an encoder that lets packed sequences see each other, which no error would tell. Raises
    SettingsError when they differ by more than PROBE_TOLERANCE or the encoder cannot run packed at all.
    """
    from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

    small = copy.deepcopy(config)
    small.num_hidden_layers = min(PROBE_LAYERS, config.num_hidden_layers)
    layout = {"uses_token_types": True}
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, config.vocab_size, length) for length in PROBE_LENGTHS]
    sequences = [np.where(ids == config.pad_token_id, (ids + 1) % config.vocab_size, ids) for ids in sequences]
    type_starts = np.array(PROBE_LENGTHS) // 2
    logits = []
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            model = AutoModelForQuestionAnswering.from_config(
                small, attn_implementation=attention_of("packed"), dtype=torch.float32
            ).eval()
            for formulation in ("packed", "padded"):
                if formulation == "padded":
                    model.set_attn_implementation(PADDED_ATTENTION)
                batch = InputForm.of(small, layout, formulation).batch(sequences, type_starts)
                logits.append(token_logits(model, batch)[0][batch.row_tokens][batch.row_mask])
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise SettingsError(
            f"{config.model_type} cannot run packed: {type(error).__name__}: {error}",
            do="set runtime.formulation=padded",
        ) from error
    difference = float((logits[0] - logits[1]).abs().max())
    if not difference <= PROBE_TOLERANCE:
        raise SettingsError(
            f"{config.model_type} cannot run packed: its logits differ from the padded model's by {difference:.2g}",
            why="its attention lets packed sequences see each other, or it numbers positions in a way of its own",
            do="set runtime.formulation=padded",
        )
    return difference
