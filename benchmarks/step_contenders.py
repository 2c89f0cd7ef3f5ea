"""One optimizer step on the same sequences: podsquad's training loop, and transformers' Trainer.

The encoder is a RoBERTa of 6 layers, 384 wide, with roberta-base's vocabulary, its dropout 0.1. The Trainer pads to
384 tokens, as the reference run does, and gets the number of sequences per device that makes it fastest, with gradient
accumulation for the rest of the step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import RobertaConfig, RobertaForQuestionAnswering, Trainer, TrainerCallback, TrainingArguments

from podsquad.data.arrow import Features, read_layout
from podsquad.runtimes.batch_plan import plan_batches
from podsquad.runtimes.job import StopRequest
from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.cpu import suit_to_cpu
from podsquad.runtimes.torch.plan import decide_micro_batch_tokens
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.trainer import Trainer as OurTrainer

NUM_SEQUENCES, MAX_LENGTH = 64, 384
RECIPE: dict[str, Any] = {
    "learning_rate": 1e-4, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "warmup_share": 0.0,
    "max_gradient_norm": None, "drop_last": True, "balanced": False, "batch_size": NUM_SEQUENCES, "seed": 1984,
}  # fmt: skip
Step = Callable[[], tuple[float, float]]
"""Does one optimizer step and returns its seconds and its processor seconds."""


def make_model(formulation: str, dropout: float = 0.1) -> Any:
    """Return the encoder with new weights, the same each time."""
    config = RobertaConfig(
        vocab_size=50265, hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536,
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    torch.manual_seed(1984)
    model = RobertaForQuestionAnswering._from_config(config, attn_implementation=attention_of(formulation))
    return model.train()


def our_trainer(folder: Path, precision: str, model: Any) -> OurTrainer:
    """Return podsquad's training loop over a features folder, set up as its runtime does on a CPU."""
    layout = read_layout(folder)
    tokens, _ = decide_micro_batch_tokens(8192, "cpu", layout["splits"]["train"]["longest_tokens"])
    suit_to_cpu(model, is_alone=True)
    return OurTrainer(
        model=model,
        form=InputForm.of(model.config, layout, "packed"),
        features=Features(folder, "train"),
        training={**RECIPE, "precision": precision, "micro_batch_tokens": tokens},
        batches=plan_batches(layout, NUM_SEQUENCES, tokens),
        num_steps=1_000_000,
        device=torch.device("cpu"),
    )


def our_step(folder: Path, precision: str) -> Step:
    """Return podsquad's step; each call does another step of the training."""
    trainer = our_trainer(folder, precision, make_model("packed"))

    def step() -> tuple[float, float]:
        begin, processor_begin = time.perf_counter(), time.process_time()
        assert trainer._do_step(StopRequest())
        return time.perf_counter() - begin, time.process_time() - processor_begin

    return step


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Times the Trainer's steps, from the first micro-batch to the updated weights; ``between`` runs after each."""

    def __init__(self, between: Callable[[], object]) -> None:
        self.steps: list[tuple[float, float]] = []
        self._between = between
        self._begin = (0.0, 0.0)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begin = (time.perf_counter(), time.process_time())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps.append((time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]))
        self._between()


def run_trainer(
    folder: Path, precision: str, per_device: int, num_steps: int, between: Callable[[], object] = lambda: None
) -> list[tuple[float, float]]:
    """Do steps of transformers' Trainer on the same features, padded; return seconds and processor seconds of each.

    ``between`` is called after each step. The first step also lays out memory and the optimizer's state.
    """
    features, clock = Features(folder, "train"), _Clock(between)
    rows_of = our_trainer(folder, "float32", make_model("packed")).feeder.rows_of
    arguments = TrainingArguments(
        output_dir=str(folder.parent / "trainer"), use_cpu=True, bf16=precision == "bfloat16", max_steps=num_steps,
        per_device_train_batch_size=per_device, gradient_accumulation_steps=NUM_SEQUENCES // per_device,
        learning_rate=RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"], max_grad_norm=0.0, seed=1984,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, dataloader_num_workers=0,
        optim="adamw_torch_fused",
    )  # fmt: skip
    samples = _Padded(features, np.concatenate([rows_of(step) for step in range(num_steps)]))
    Trainer(model=make_model("padded"), args=arguments, train_dataset=samples, callbacks=[clock]).train()
    return clock.steps


class _Padded(torch.utils.data.Dataset):  # type: ignore[misc]
    """Features as run_qa.py stores them: padded to the full length, in memory."""

    def __init__(self, features: Features, rows: np.ndarray) -> None:
        self._samples = []
        for row in rows.tolist():
            ids = np.full(MAX_LENGTH, 1, np.int64)
            length = len(features.input_ids[row])
            ids[:length] = features.input_ids[row]
            self._samples.append(
                {
                    "input_ids": torch.from_numpy(ids),
                    "attention_mask": torch.from_numpy((np.arange(MAX_LENGTH) < length).astype(np.int64)),
                    "start_positions": int(features.start_position[row]),
                    "end_positions": int(features.end_position[row]),
                }
            )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._samples[index]


def gradient_differences(folder: Path) -> dict[str, float]:
    """Compare one step's gradients, without dropout, with those of the padded model whose padding is masked.

    Masked means: padding takes no part in the softmax over a sequence's logits, as it does in Hugging Face's own loss.
    Returns the largest difference, relative to the largest gradient, and that of the whole vector's norm.
    """
    trainer = our_trainer(folder, "float32", make_model("packed", dropout=0.0))
    rows = trainer.feeder.rows_of(0)
    loss = trainer._add_gradients(rows, StopRequest())
    assert loss is not None
    mine = {name: parameter.grad for name, parameter in trainer.model.named_parameters()}
    model = make_model("padded", dropout=0.0)
    samples = _Padded(trainer.features, rows)
    total = 0.0
    for first in range(0, len(samples), 8):
        batch = torch.utils.data.default_collate([samples[index] for index in range(first, first + 8)])
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        is_padding = batch["attention_mask"] == 0
        for logits, labels in (
            (output.start_logits, batch["start_positions"]),
            (output.end_logits, batch["end_positions"]),
        ):
            kept = logits.masked_fill(is_padding, -torch.inf)
            part = torch.nn.functional.cross_entropy(kept, labels, reduction="sum") / (2 * len(samples))
            part.backward(retain_graph=labels is batch["start_positions"])
            total += float(part.detach())
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    norm = sum(float((gradient.double() ** 2).sum()) for gradient in theirs.values()) ** 0.5
    return {
        "loss_relative": abs(float(loss) - total) / total,
        "largest_relative": max(float((mine[name] - theirs[name]).abs().max()) for name in theirs) / largest,
        "norm_relative": sum(float(((mine[n] - theirs[n]).double() ** 2).sum()) for n in theirs) ** 0.5 / norm,
    }
