"""Packed against padded on this device: the logits and the gradients of one batch, in float32 and in bf16.

The measure is the padded model in float32, its padding masked in the loss. In float32 packed shall be equal to it but
for rounding; in bf16 packed shall be no farther from it than the padded model is in bf16, but for a half more. How far
the padded model is from itself when its attention is written out ("eager") is told beside: a kernel's rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering

from benchmarks.gpu.recipe import settings_of
from benchmarks.gpu.section import Given, config_of, rows_of_a_step
from podsquad.data.arrow import Features, read_layout
from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.attention_route import FLASH, decide_attention
from podsquad.runtimes.torch.device import arithmetic, set_up
from podsquad.runtimes.torch.reader import InputForm, summed_loss, token_logits
from podsquad.runtimes.torch.static import StaticSize

MOST_SEQUENCES = 64
FLOAT32_LOGITS, FLOAT32_GRADIENTS, BFLOAT16_FACTOR = 1e-4, 1e-5, 1.5
FORMULATIONS = ("padded", "packed", "packed, one static size")
EAGER = "padded, eager"
Found = tuple[torch.Tensor, torch.Tensor]


def compare(given: Given) -> dict[str, Any]:
    """Return how far each formulation is from the measure, and whether that is near enough."""
    torch.backends.cuda.matmul.allow_tf32 = False
    device = set_up(settings_of(given.scale, given.device)["runtime"])  # deterministic kernels, as a training has
    torch.manual_seed(1984)
    model = AutoModelForQuestionAnswering.from_config(
        config_of(given, dropout=0.0), trust_remote_code=False, dtype=torch.float32
    )
    model.to(device).train()
    measure = _run(given, model, "float32", "padded")
    result: dict[str, Any] = {"sequences": min(MOST_SEQUENCES, given.scale.batch_size)}
    for precision in ("float32", "bfloat16"):
        found = {}
        for formulation in (*FORMULATIONS, EAGER):
            if (precision, formulation) == ("float32", "padded"):
                continue
            try:
                found[formulation] = _distances(_run(given, model, precision, formulation), measure)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                found[formulation] = {"error": f"{type(error).__name__}: {error}"[:500]}
        for formulation in FORMULATIONS[1:]:
            found[formulation]["near_enough"] = _is_near(precision, found[formulation], found.get("padded"))
        result[precision] = found
        result[f"attention_in_{precision}"] = ": ".join(decide_attention(model.config, device, precision))
    return result


def _run(given: Given, model: Any, precision: str, formulation: str) -> Found:
    """Return the logits of all tokens in order, and all gradients as one vector."""
    features, layout = Features(given.features, "train"), read_layout(given.features)
    rows = rows_of_a_step(given)[:MOST_SEQUENCES]
    lengths = features.input_ids.lengths[rows]
    size = None
    if formulation == FORMULATIONS[2]:
        size = StaticSize(-(-int(lengths.sum() + 100) // 64) * 64, len(rows) + 3, given.scale.longest_tokens)
    kind = formulation.partition(",")[0]
    model.set_attn_implementation("eager" if formulation == EAGER else attention_of(kind))
    device = torch.device(given.device)
    grouped = decide_attention(model.config, device, precision)[0] != FLASH
    batch = InputForm.of(model.config, layout, kind, size, grouped=grouped).take(features, rows).to(device)
    labels = torch.zeros((2, len(batch.row_mask)), dtype=torch.int64)
    labels[0, : len(rows)] = torch.from_numpy(features.start_position[rows].astype("int64"))
    labels[1, : len(rows)] = torch.from_numpy(features.end_position[rows].astype("int64"))
    starts, ends = labels.to(given.device)
    model.zero_grad(set_to_none=True)
    with arithmetic(device, precision):
        loss = summed_loss(model, batch, starts, ends) / len(rows)
        with torch.no_grad():
            logits = torch.stack(token_logits(model, batch))
    loss.backward()
    kept = logits[:, batch.row_tokens[: len(rows)][batch.row_mask[: len(rows)]]].double()
    gradients = torch.cat([weight.grad.flatten().double() for weight in model.parameters()])
    return kept, gradients


def _distances(found: Found, measure: Found) -> dict[str, Any]:
    (logits, gradients), (true_logits, true_gradients) = found, measure
    return {
        "logits": float((logits - true_logits).abs().max() / true_logits.std()),
        "gradients": float((gradients - true_gradients).norm() / true_gradients.norm()),
    }


def _is_near(precision: str, found: dict[str, Any], padded: dict[str, Any] | None) -> bool:
    if "error" in found:
        return False
    if precision == "float32":
        return bool(found["logits"] <= FLOAT32_LOGITS and found["gradients"] <= FLOAT32_GRADIENTS)
    if padded is None or "error" in padded:
        return False
    return all(found[name] <= BFLOAT16_FACTOR * padded[name] for name in ("logits", "gradients"))
