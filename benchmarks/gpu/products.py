"""How fast this device multiplies matrices of the sizes that a step has, forward and backward, in bf16."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.gpu.section import Given, synchronise


def measure(given: Given) -> dict[str, Any]:
    """Return TFLOP/s of each layer's products, and of a whole encoder layer's together."""
    scale, result = given.scale, {}
    hidden, inner, tokens = scale.hidden_size, scale.intermediate_size, scale.product_tokens
    shapes = {"query, key, value or output": (hidden, hidden, 4), "inner": (hidden, inner, 1)}
    shapes |= {"back from inner": (inner, hidden, 1)}
    all_flop = all_seconds = 0.0
    for name, (wide, out, times) in shapes.items():
        seconds = _seconds(given, tokens, wide, out)
        flop = 6.0 * tokens * wide * out
        result[name] = {"shape": [tokens, wide, out], "tflop_per_second": round(flop / seconds / 1e12, 3)}
        all_flop, all_seconds = all_flop + times * flop, all_seconds + times * seconds
    return {"tokens": tokens, "layer_tflop_per_second": round(all_flop / all_seconds / 1e12, 3), "products": result}


def _seconds(given: Given, tokens: int, wide: int, out: int) -> float:
    """Return the median seconds of a product and of the two of its backward pass."""
    rows = torch.randn(tokens, wide, device=given.device, dtype=torch.bfloat16)
    weight = torch.randn(out, wide, device=given.device, dtype=torch.bfloat16)
    gradient = torch.randn(tokens, out, device=given.device, dtype=torch.bfloat16)
    taken = []
    for _ in range(3 + given.scale.rounds):
        synchronise(given.device)
        begin = time.perf_counter()
        for _ in range(5):
            rows @ weight.t()
            gradient @ weight
            gradient.t() @ rows
        synchronise(given.device)
        taken.append((time.perf_counter() - begin) / 5)
    return statistics.median(taken[3:])
