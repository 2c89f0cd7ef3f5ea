"""Whether the host waits for the GPU within a training step: torch itself refuses every wait there."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.recipe import settings_of
from benchmarks.gpu.section import Given, config_of
from podsquad.data.arrow import Features, read_layout
from podsquad.runtimes.batch_plan import plan_batches
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch.attention_route import FLASH, decide_attention
from podsquad.runtimes.torch.device import set_up
from podsquad.runtimes.torch.model import build_model
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.trainer import Trainer


def look(given: Given) -> dict[str, Any]:
    """Do steps of the genuine training loop, uncompiled, with torch's synchronisation check set to raise."""
    given.need_cuda("only a GPU can be waited for")
    settings, layout = settings_of(given.scale, given.device), read_layout(given.features)
    device, training = set_up(settings["runtime"]), settings["training"]  # deterministic kernels, as a training has
    config = config_of(given, dropout=0.1)
    grouped = decide_attention(config, device, training["precision"])[0] != FLASH
    trainer = Trainer(
        model=build_model(settings["model"], config, seed=1984, formulation="packed").to(device),
        form=InputForm.of(config, layout, "packed", grouped=grouped),
        features=Features(given.features, "train"),
        training=training,
        batches=plan_batches(layout, training["batch_size"], training["micro_batch_tokens"]),
        num_steps=1_000_000,
        device=device,
    )
    trainer.model.train()
    done = [trainer._do_step(StopRequest())]  # the first lays out memory and the optimizer's state
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        done += [trainer._do_step(StopRequest()) for _ in range(2)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"steps_without_a_wait": len(done) - 1, "attention": "by groups" if grouped else "flash"}
