"""transformers' Trainer on the same features: padded to the longest, bf16, its best settings, a fair number of steps.

Without accelerate there is no Trainer: then a plain loop does what it does (padded, autocast, fused AdamW, Hugging
Face's own loss), and the result says so. Steps go over the whole batch of the recipe; what is tried is how many
sequences go through the model at once, and whether it is compiled. All are padded to the longest, as the reference
pads: padding to the longest of a batch, run_qa.py's other way, is not tried.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering

from benchmarks.gpu.recipe import DIFFERS, training_flop
from benchmarks.gpu.section import Given, config_of, synchronise
from podsquad.data.arrow import Features
from podsquad.runtimes.torch.device import arithmetic
from podsquad.store.durable import write_json

PAD = 1
WARM_UP_STEPS, TRIAL_STEPS = 2, 4


@dataclass(frozen=True)
class Choice:
    """How many sequences go through the model at once, and whether it is compiled."""

    per_device: int
    compiled: bool

    def __str__(self) -> str:
        return f"{self.per_device} sequences at once" + (", compiled" if self.compiled else "")


class Padded(torch.utils.data.Dataset):  # type: ignore[misc]
    """The first features, as run_qa.py stores them: padded to the full length, in memory."""

    def __init__(self, given: Given, count: int) -> None:
        features, longest = Features(given.features, "train"), given.scale.longest_tokens
        self.lengths = features.input_ids.lengths
        count = min(count, len(features))
        ids = np.full((count, longest), PAD, np.int64)
        for row in range(count):
            tokens = features.input_ids[row]
            ids[row, : len(tokens)] = tokens
        self._ids = torch.from_numpy(ids)
        self._mask = (torch.arange(longest) < torch.from_numpy(self.lengths[:count])[:, None]).long()
        self._starts = torch.from_numpy(features.start_position[:count].astype(np.int64))
        self._ends = torch.from_numpy(features.end_position[:count].astype(np.int64))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {
            "input_ids": self._ids[row],
            "attention_mask": self._mask[row],
            "start_positions": self._starts[row],
            "end_positions": self._ends[row],
        }


def measure(given: Given) -> dict[str, Any]:
    """Try the settings, take the fastest, and measure it; seconds of a whole training are extrapolated, and say so."""
    scale = given.scale
    has_trainer = find_spec("accelerate") is not None
    run = _run_trainer if has_trainer else _run_loop
    tried: dict[str, Any] = {}
    choices = {Choice(scale.batch_size // parts, compiled) for parts in (1, 2, 4) for compiled in (False, True)}
    if given.device == "cpu":
        choices = {choice for choice in choices if not choice.compiled}
    for choice in sorted(choices, key=lambda each: (each.compiled, -each.per_device)):
        try:
            tried[str(choice)] = round(run(given, choice, TRIAL_STEPS)["seconds_per_step"], 4)
        except (RuntimeError, ValueError, TypeError) as error:  # out of memory, or torch.compile: try the next
            tried[str(choice)] = f"{type(error).__name__}: {error}"[:300]
        write_json(given.outcome, {"settings_tried_seconds_per_step": tried})
    runs = {choice: seconds for choice in choices if isinstance(seconds := tried[str(choice)], float)}
    if not runs:
        raise RuntimeError(f"no setting runs: {tried}")
    best = min(runs, key=lambda choice: runs[choice])
    found = run(given, best, scale.peer_steps)
    steps = scale.epochs * -(-scale.train_features // scale.batch_size)
    seconds = found["seconds_per_step"] * steps
    lengths = Features(given.features, "train").input_ids.lengths
    flop = training_flop(scale, lengths, scale.epochs)
    return {
        "peer": "transformers' Trainer" if has_trainer else "a plain loop: accelerate, which Trainer needs, is missing",
        "settings_tried_seconds_per_step": tried,
        "settings": str(best),
        "steps_measured": scale.peer_steps,
        **found,
        "training_seconds_extrapolated": round(seconds, 2),
        "samples_per_second": round(scale.train_features * scale.epochs / seconds, 1),
        "tflop_per_second_of_real_tokens": round(flop["unpadded"] / seconds / 1e12, 3),
        "tflop_per_second_with_padding": round(flop["padded"] / seconds / 1e12, 3),
        "podsquad_differs": list(DIFFERS),
    }


def _model(given: Given) -> Any:
    torch.manual_seed(1984)
    return AutoModelForQuestionAnswering.from_config(
        config_of(given, dropout=0.1), trust_remote_code=False, dtype=torch.float32
    ).train()


def _run_trainer(given: Given, choice: Choice, num_steps: int) -> dict[str, Any]:
    """Return seconds of a step, from data to updated weights, over ``num_steps`` after the warm-up."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    begun: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, arguments: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step in (WARM_UP_STEPS, WARM_UP_STEPS + num_steps):
                synchronise(given.device)
                begun.append(time.perf_counter())

    is_cuda, total = given.device == "cuda", WARM_UP_STEPS + num_steps
    arguments = TrainingArguments(
        output_dir=str(given.work / "trainer"),
        use_cpu=not is_cuda,
        bf16=True,
        max_steps=total,
        per_device_train_batch_size=choice.per_device,
        gradient_accumulation_steps=given.scale.batch_size // choice.per_device,
        learning_rate=6e-5,
        weight_decay=0.01,
        max_grad_norm=0.0,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=4 if is_cuda else 0,
        dataloader_pin_memory=is_cuda,
        optim="adamw_torch_fused",
        torch_compile=choice.compiled,
        tf32=True if is_cuda else None,
    )
    _reset_peak(given)
    samples = Padded(given, total * given.scale.batch_size)
    Trainer(model=_model(given), args=arguments, train_dataset=samples, callbacks=[Clock()]).train()
    return {"seconds_per_step": (begun[1] - begun[0]) / num_steps, "peak_device_memory_mib": _peak(given)}


def _run_loop(given: Given, choice: Choice, num_steps: int) -> dict[str, Any]:
    """The same by a plain loop."""
    _reset_peak(given)
    device, model = torch.device(given.device), _model(given).to(given.device)
    model = torch.compile(model) if choice.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-5, weight_decay=0.01, fused=True)
    samples, place, began = Padded(given, given.scale.batch_size), 0, 0.0
    parts = given.scale.batch_size // choice.per_device
    for step in range(WARM_UP_STEPS + num_steps):
        if step == WARM_UP_STEPS:
            synchronise(given.device)
            began = time.perf_counter()
        for _ in range(parts):
            rows = [(place + number) % len(samples) for number in range(choice.per_device)]
            place += choice.per_device
            batch = torch.utils.data.default_collate([samples[row] for row in rows])
            with arithmetic(device, "bfloat16"):
                loss = model(**{name: each.to(device) for name, each in batch.items()}).loss / parts
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    synchronise(given.device)
    return {"seconds_per_step": (time.perf_counter() - began) / num_steps, "peak_device_memory_mib": _peak(given)}


def _reset_peak(given: Given) -> None:
    if given.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(given: Given) -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if given.device == "cuda" else None
