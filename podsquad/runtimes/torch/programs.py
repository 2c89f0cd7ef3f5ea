"""Compiled programs: torch.compile's cache folder as an artifact.

Compiled is the whole model for micro-batches of one static size: one program for the forward and one for the backward
pass, with attention as one operator in it (flat_attention.py). The loss, the optimizer and prediction stay eager.

The folder that TORCHINDUCTOR_CACHE_DIR names is relocatable on the same processor and torch; a training works on a
copy of its own, since the compiler writes there. (torch.compiler.save_cache_artifacts leaves out the compiled C++, and
what it holds of a GPU's programs is in the folder too.)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

from podsquad.data.arrow import Features
from podsquad.runtimes.job import Events
from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.device import arithmetic
from podsquad.runtimes.torch.reader import InputForm, summed_loss
from podsquad.runtimes.torch.static import StaticSize, deal

PROGRAMS_FOLDER = "programs"


def use_programs(programs: Path, work: Path, rank: int = 0) -> None:
    """Let this process compile from a writable copy of ``programs`` in ``work``. Call it before compiling."""
    copy = work / (PROGRAMS_FOLDER if rank == 0 else f"{PROGRAMS_FOLDER}-{rank}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(programs, copy)
    _point_to(copy)


def compile_model(model: Any) -> None:
    """Let ``model`` be compiled whole, in place, when it is first called; names and weights stay as they are.

    What cannot be compiled whole raises when it is called, instead of running in parts that wait for each other.
    """
    # Ranks exchange gradients after the whole backward pass: cut into buckets, there would be many programs.
    torch._dynamo.config.optimize_ddp = False
    model.compile(dynamic=False, fullgraph=True)


def num_compiled_anew() -> int:
    """Return how many programs this process compiled because they were not in the folder."""
    from torch._dynamo.utils import counters

    # A bypass is a graph that the cache does not take: torch compiles it each time, and counts it apart.
    return sum(int(counters["inductor"][f"fxgraph_cache_{name}"]) for name in ("miss", "bypass"))


def tell_compiled_anew(events: Events) -> None:
    """Log a warning when this process compiled what the executable should have held."""
    if count := num_compiled_anew():
        events.log(
            f"{count} programs were compiled anew: the executable's do not fit this torch, processor or device; "
            "podsquad run --refresh compile makes them again",
            "warning",
        )


def warm_up(
    settings: Mapping[str, Any],
    config: Any,
    layout: Mapping[str, Any],
    features: Features,
    size: StaticSize,
    device: torch.device,
    programs: Path,
) -> None:
    """Fill ``programs`` by a real forward and backward pass over features of that size, with new weights."""
    _point_to(programs)
    training = settings["training"]
    model = AutoModelForQuestionAnswering.from_config(
        config, trust_remote_code=False, attn_implementation=attention_of("packed"), dtype=torch.float32
    )
    model.to(device).train()
    compile_model(model)
    form = InputForm.of(config, layout, "packed", size)
    rows = np.arange(min(training["batch_size"], len(features)))
    piece = deal(features.input_ids.lengths[rows], size)[0]
    batch = form.take(features, rows[piece]).to(device)
    labels = torch.zeros(len(batch.row_mask), dtype=torch.int64, device=device)
    with arithmetic(device, training["precision"]):
        loss = summed_loss(model, batch, labels, labels)
    loss.backward()


def _point_to(folder: Path) -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = "1"
    os.environ["TORCHINDUCTOR_AUTOGRAD_CACHE"] = "1"
