"""The routes of attention compared on one step's sequences: forward and backward, time and memory, and how exact."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.routes import ROUTES, Route, Run, Sequences
from benchmarks.gpu.section import Given, rows_of_a_step, synchronise
from podsquad.data.arrow import Features
from podsquad.runtimes.torch.group_attention import attend_groups
from podsquad.runtimes.torch.packing import group_sequences


def measure(given: Given, name: str) -> dict[str, Any]:
    """Measure one route. Raises RefusedError where it cannot run here, and whatever it raises."""
    route = next(each for each in ROUTES if each.name == name)
    lengths = np.sort(Features(given.features, "train").input_ids.lengths[rows_of_a_step(given)])
    boundaries = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)).to(given.device)
    sequences = Sequences(lengths, boundaries)
    tokens, heads = int(lengths.sum()), given.scale.num_heads
    head_size = given.scale.hidden_size // heads
    dtype = torch.bfloat16 if given.device == "cuda" else torch.float32
    torch.manual_seed(1984)
    flat = torch.randn(3, tokens, heads, head_size, device=given.device).to(dtype).requires_grad_()
    weight = torch.randn(tokens, heads, head_size, device=given.device)
    torch.use_deterministic_algorithms(route.deterministic)
    try:
        run = route.make(given, sequences, route.dropout)
        exactness = _exactness(given, route, run, flat, weight, sequences)
        seconds, peak = _time(given, run, flat, weight.to(dtype))
    finally:
        torch.use_deterministic_algorithms(False)
    # Two products forward and five backward (scores are made again), 2 x size operations for each pair of tokens.
    flop = 2.0 * 7 * heads * head_size * float((lengths.astype(np.float64) ** 2).sum())
    return {
        "sequences": len(lengths),
        "tokens": tokens,
        "dtype": str(dtype),
        "milliseconds_per_layer": round(seconds * 1e3, 4),
        "tflop_per_second": round(flop / seconds / 1e12, 3),
        "peak_memory_mib": peak,
        **exactness,
    }


def _exactness(
    given: Given, route: Route, run: Run, flat: torch.Tensor, weight: torch.Tensor, sequences: Sequences
) -> dict[str, float]:
    """Return the distance from attention by groups in float32; of dropout, whether both passes drop the same.

    What is attended to is linear in the values: sum(attended * g) = sum(values * their gradient), whatever is dropped.
    """
    attended = run(flat)
    (gradients,) = torch.autograd.grad((attended.float() * weight).sum(), flat)
    if route.dropout:
        forward = float((attended.detach().double() * weight).sum())
        backward = float((flat[2].detach().double() * gradients[2]).sum())
        spread = float((attended.detach().double() * weight).norm())
        return {"dropout_forward_and_backward_differ_by": abs(forward - backward) / spread}
    groups = tuple(group.to(torch.device(given.device)) for group in group_sequences(sequences.lengths))
    true = flat.detach().float().requires_grad_()
    expected = attend_groups(true, groups, 0.0, None, None)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), true)
    return {
        "results_relative": float((attended.detach().float() - expected.detach()).norm() / expected.detach().norm()),
        "gradients_relative": float((gradients.float() - wanted).norm() / wanted.norm()),
    }


def _time(given: Given, run: Run, flat: torch.Tensor, weight: torch.Tensor) -> tuple[float, float | None]:
    """Return the median seconds of a forward and backward pass, and the memory it takes beside its inputs."""
    is_cuda = given.device == "cuda"
    taken = []
    before = torch.cuda.memory_allocated() if is_cuda else 0
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3 + given.scale.rounds):
        synchronise(given.device)
        begin = time.perf_counter()
        torch.autograd.grad(run(flat), flat, weight)
        synchronise(given.device)
        taken.append(time.perf_counter() - begin)
    peak = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1) if is_cuda else None
    return statistics.median(taken[3:]), peak
