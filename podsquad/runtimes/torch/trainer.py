"""The training loop: steps, checkpoints, and the state between them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from podsquad.data.arrow import Features
from podsquad.errors import DivergedError, InternalError
from podsquad.runtimes.batch_plan import BatchPlan, micro_batches
from podsquad.runtimes.checkpoints import Checkpoint, Checkpoints
from podsquad.runtimes.job import Events, StopRequest
from podsquad.runtimes.order import Ledger, epoch_order, mix, step_features
from podsquad.runtimes.torch.device import arithmetic
from podsquad.runtimes.torch.optimizer import (
    all_finite,
    learning_rate_at,
    make_optimizer,
    optimizer_arrays,
    restore_optimizer,
    set_learning_rate,
    warmup_steps,
)
from podsquad.runtimes.torch.reader import InputForm, summed_loss

MODEL_GROUP, OPTIMIZER_GROUP = "model", "optimizer"


class Trainer:
    """One training on one device. Its state after a step is a pure function of what it was made with and the step.

    ``model`` is changed in place. Randomness (dropout) is drawn from (seed, step), so that no generator's state has
    to be carried over a resume.
    """

    def __init__(
        self,
        *,
        model: Any,
        form: InputForm,
        features: Features,
        training: Mapping[str, Any],
        batches: BatchPlan,
        num_steps: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.features = features
        self.history: list[dict[str, Any]] = []
        self.ledger = Ledger()
        self.num_steps = num_steps
        self._form = form
        self._training = training
        self._batches = batches
        self._device = device
        self._steps_per_epoch = batches.steps_per_epoch(training["drop_last"])
        self._num_warmup = warmup_steps(num_steps, training["warmup_share"])
        self._optimizer = make_optimizer(model, training)
        self._lengths = features.input_ids.lengths
        self._labels = np.stack((features.start_position, features.end_position)).astype(np.int64)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.history)

    def rows_of(self, step: int) -> np.ndarray:
        """Return the features of a step, counted from 0."""
        epoch, within = divmod(step, self._steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self._training["seed"], epoch, len(self.features)))
        return step_features(self._order[1], within, self._batches.batch_size)

    def features_between(self, first: int, past: int) -> int:
        """Return how many features the steps from ``first`` to before ``past`` consume."""
        return sum(len(self.rows_of(step)) for step in range(first, past))

    def run(self, checkpoints: Checkpoints, events: Events, stop: StopRequest) -> None:
        """Do the steps that are left, with checkpoints on the way.

        Raises StoppedError when a stop is asked for, after a checkpoint, and DivergedError when a loss, or a weight
        that would go into a checkpoint or the result, is NaN or infinite.
        """
        self.model.train()
        interval: int = self._training["checkpoint_interval_steps"]
        began, consumed = time.monotonic(), 0
        saved = self.step
        while self.step < self.num_steps:
            if stop:
                if self.step > saved:
                    self._save(checkpoints, events)
                stop.raise_if_set(f"step {self.step} of {self.num_steps} is saved")
            entry = self._do_step(stop)
            if entry is None:
                continue
            consumed += len(self.rows_of(entry["step"] - 1))
            speed = consumed / max(time.monotonic() - began, 1e-9)
            left = (self.num_steps - self.step) * self._batches.batch_size / speed
            events.progress(
                self.step,
                self.num_steps,
                loss=entry["loss"],
                learning_rate=entry["learning_rate"],
                samples_per_second=round(speed, 3),
                seconds_left=round(left, 1),
            )
            if self.step % interval == 0 and self.step < self.num_steps:
                self._save(checkpoints, events)
                saved = self.step
        self._refuse_bad_weights()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state. Raises InternalError when its ledger is not that of this order of samples."""
        ledger = Ledger()
        for step in range(checkpoint.step):
            self._enter(ledger, self.rows_of(step))
        if ledger.digest != checkpoint.state["ledger"]:
            raise InternalError(
                f"the checkpoint of step {checkpoint.step} consumed other features than this training would have",
                why="its ledger differs though its fingerprint does not: a bug in the order of samples",
                do="delete the training's work folder to start anew, and report this",
            )
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(torch.from_numpy(checkpoint.arrays[MODEL_GROUP][name]))
        restore_optimizer(self.model, self._optimizer, checkpoint.arrays[OPTIMIZER_GROUP])
        self.ledger = ledger
        self.history = list(checkpoint.state["history"])

    def _do_step(self, stop: StopRequest) -> dict[str, Any] | None:
        """Do one step and return its entry of the history; None, and nothing is changed, when a stop is asked for."""
        step = self.step
        rows = self.rows_of(step)
        rate = learning_rate_at(step, self.num_steps, self._num_warmup, self._training["learning_rate"])
        torch.manual_seed(mix(self._training["seed"], step) >> 1)
        loss = self._add_gradients(rows, stop)
        if loss is None:
            self._optimizer.zero_grad(set_to_none=True)
            return None
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of step {step + 1} of {self.num_steps} is {loss}", rate)
        if self._training["max_gradient_norm"] is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._training["max_gradient_norm"])
        set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._enter(self.ledger, rows)
        entry = {"step": step + 1, "loss": loss, "learning_rate": rate}
        self.history.append(entry)
        return entry

    def _add_gradients(self, rows: np.ndarray, stop: StopRequest) -> float | None:
        """Run the step's micro-batches forward and backward; return the mean loss over its sequences.

        None when a stop is asked for meanwhile: a step of a large batch on a CPU takes longer than a stop may.
        """
        pieces = micro_batches(self._lengths[rows], self._batches.micro_batch_tokens, padded=not self._form.packed)
        total = torch.zeros((), device=self._device)
        for piece in pieces:
            if stop:
                return None
            batch = self._form.take(self.features, rows[piece]).to(self._device)
            starts, ends = torch.from_numpy(self._labels[:, rows[piece]]).to(self._device)
            with arithmetic(self._device, self._training["precision"]):
                loss = summed_loss(self.model, batch, starts, ends) / len(rows)
            loss.backward()
            total += loss.detach()
        return float(total)

    def _enter(self, ledger: Ledger, rows: np.ndarray) -> None:
        ledger.enter(rows, self.features.question_index[rows])

    def _save(self, checkpoints: Checkpoints, events: Events) -> None:
        self._refuse_bad_weights()
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        arrays = {MODEL_GROUP: weights, OPTIMIZER_GROUP: optimizer_arrays(self.model, self._optimizer)}
        state = {
            "ledger": self.ledger.digest,
            "history": self.history,
            "random": "torch.manual_seed from (training.seed, step) before every step: nothing to carry",
        }
        checkpoints.save(self.step, arrays, state)
        events.checkpoint(self.step)

    def _refuse_bad_weights(self) -> None:
        if not all_finite(self.model.parameters()):
            raise self._diverged(f"a weight is NaN or infinite after step {self.step} of {self.num_steps}", None)

    def _diverged(self, what: str, rate: float | None) -> DivergedError:
        losses = ", ".join(f"{entry['loss']:.4g}" for entry in self.history[-3:]) or "none"
        at = "" if rate is None else f" at learning rate {rate:.3g}"
        return DivergedError(
            what + at,
            why=f"often a learning rate that is too high; the losses before: {losses}. No checkpoint was written",
            do="lower training.learning_rate, raise training.warmup_share, or set training.max_gradient_norm=1.0",
        )
