"""The optimizer: AdamW in two groups, with a linear schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

_KINDS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps for each parameter


def warmup_steps(total_steps: int, warmup_share: float) -> int:
    """Return the steps of the warm-up, rounded up as in transformers' TrainingArguments.get_warmup_steps."""
    return math.ceil(total_steps * warmup_share)


def learning_rate_at(step: int, total_steps: int, num_warmup: int, peak: float) -> float:
    """Return the rate of a step, counted from 0: up from 0 to ``peak``, then down to 0 at ``total_steps``.

    As transformers' get_linear_schedule_with_warmup: the very first step of a warm-up has rate 0.
    """
    if step < num_warmup:
        return peak * step / num_warmup
    return peak * (total_steps - step) / max(1, total_steps - num_warmup)


def decayed_parameters(model: nn.Module) -> set[str]:
    """Return the names of the parameters that weight decay shrinks: all but biases and normalisation layers'."""
    spared = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if isinstance(module, nn.LayerNorm | nn.RMSNorm) or "norm" in type(module).__name__.lower()
    }
    return {name for name, _ in model.named_parameters() if name not in spared and not name.endswith("bias")}


def make_optimizer(model: nn.Module, training: Mapping[str, Any]) -> torch.optim.AdamW:
    """Return AdamW over all parameters with the recipe of the settings' ``training`` section."""
    decayed = decayed_parameters(model)
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": training["weight_decay"]},
        {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=training["learning_rate"],
        betas=(training["beta1"], training["beta2"]),
        eps=training["epsilon"],
        fused=True,  # one pass over memory instead of a dozen; deterministic
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step use ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_arrays(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Return the optimizer's state as arrays named ``<parameter>/<kind>``."""
    return {
        f"{name}/{kind}": value.detach().cpu().numpy()
        for name, parameter in model.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what ``optimizer_arrays`` returned. Raises KeyError when a parameter's state is missing."""
    for name, parameter in model.named_parameters():
        state = {}
        for kind in _KINDS:
            value = torch.from_numpy(arrays[f"{name}/{kind}"].copy())
            state[kind] = value.to(parameter.device)
        optimizer.state[parameter] = state


def share_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, share: Callable[[Iterable[torch.Tensor]], None]
) -> None:
    """Give every rank the first rank's state; ``share`` overwrites tensors with the first rank's."""
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        share(state[kind] for kind in _KINDS)


def all_finite(parameters: Iterable[torch.Tensor]) -> bool:
    """Tell whether no weight is NaN or infinite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in parameters)
