"""What is replaced in a model that trains on a CPU, because torch does it slowly or with much memory there."""

from __future__ import annotations

from typing import Any

from podsquad.runtimes.torch.dropout import use_shared_draws
from podsquad.runtimes.torch.embedding import use_direct_gradients
from podsquad.runtimes.torch.linear import use_onednn


def suit_to_cpu(model: Any, *, is_alone: bool) -> list[tuple[str, str, str]]:
    """Change ``model`` in place; return the decisions: what they are about, what was decided, and why.

    Names, shapes and the state dict stay as they are. ``is_alone``: no other process trains it too.
    """
    decisions = []
    if num_layers := use_onednn(model):
        reason = f"{num_layers} linear layers on the CPU: never slower than MKL there"
        decisions.append(("products", "oneDNN", reason))
    if use_shared_draws(model):
        reason = "one draw for four values: torch's are made one by one on a CPU"
        decisions.append(("dropout", "shared draws", reason))
    if is_alone and use_direct_gradients(model):
        reason = "micro-batches fill no gradient of the vocabulary's size"
        decisions.append(("embedding", "gradients in place", reason))
    return decisions
