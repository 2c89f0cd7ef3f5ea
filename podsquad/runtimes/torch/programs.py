"""Compiled programs: torch.compile's cache folder as an artifact.

Compiled are the parts of a layer without attention (the feed-forward halves and what adds and normalises): one program
of dynamic length serves every layer and every micro-batch. Attention stays outside: its groups have other shapes in
every step.

The folder that TORCHINDUCTOR_CACHE_DIR names is relocatable on the same processor and torch; a training works on a
copy of its own, since the compiler writes there.
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
from podsquad.errors import SettingsError
from podsquad.runtimes.batch_plan import micro_batches
from podsquad.runtimes.torch.device import arithmetic
from podsquad.runtimes.torch.model import attention_of
from podsquad.runtimes.torch.reader import InputForm, summed_loss

PROGRAMS_FOLDER = "programs"
# transformers names the parts of its BERT-like layers so: BertIntermediate, RobertaSelfOutput, RobertaOutput.
_PARTS = ("Intermediate", "SelfOutput", "Output")


def use_programs(programs: Path, work: Path) -> None:
    """Let this process compile from a writable copy of ``programs`` in ``work``. Call it before compiling."""
    copy = work / PROGRAMS_FOLDER
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(programs, copy)
    _point_to(copy)


def compile_parts(model: Any) -> int:
    """Compile the parts of ``model`` without attention, in place, and return how many there are.

    Names and weights stay as they are; nothing is compiled before the first call. Raises SettingsError where no part
    is known.
    """
    parts = [part for part in model.modules() if type(part).__name__.endswith(_PARTS) and hasattr(part, "dense")]
    if not parts:
        raise SettingsError(
            f"podsquad knows no part of {type(model).__name__} that it could compile", do="set runtime.compiled=never"
        )
    for part in parts:
        part.compile(dynamic=True)
    return len(parts)


def warm_up(
    settings: Mapping[str, Any],
    config: Any,
    layout: Mapping[str, Any],
    features: Features,
    device: torch.device,
    programs: Path,
) -> None:
    """Fill ``programs`` by real forward and backward passes over features of the first step, with new weights."""
    _point_to(programs)
    training, formulation = settings["training"], settings["runtime"]["formulation"]
    model = AutoModelForQuestionAnswering.from_config(
        config, attn_implementation=attention_of(formulation), dtype=torch.float32
    )
    model.to(device).train()
    compile_parts(model)
    form = InputForm.of(config, layout, formulation)
    rows = np.arange(min(training["batch_size"], len(features)))
    pieces = micro_batches(features.input_ids.lengths[rows], training["micro_batch_tokens"], padded=not form.packed)
    # Two sizes, so that the length is seen to vary.
    for piece in (pieces[0], pieces[0][: -(-len(pieces[0]) // 2)]):
        batch = form.take(features, rows[piece]).to(device)
        labels = torch.zeros(len(piece), dtype=torch.int64, device=device)
        with arithmetic(device, training["precision"]):
            loss = summed_loss(model, batch, labels, labels)
        loss.backward()


def _point_to(folder: Path) -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = "1"
