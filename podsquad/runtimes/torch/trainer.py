"""The training loop: steps, checkpoints, and the state between them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from podsquad.data.arrow import Features
from podsquad.errors import DivergedError, InternalError
from podsquad.runtimes.batch_plan import BatchPlan
from podsquad.runtimes.checkpoints import Checkpoint, Checkpoints
from podsquad.runtimes.job import Events, StopRequest
from podsquad.runtimes.order import Ledger
from podsquad.runtimes.torch.device import arithmetic
from podsquad.runtimes.torch.feeder import Feeder
from podsquad.runtimes.torch.optimizer import (
    all_finite,
    learning_rate_at,
    make_optimizer,
    optimizer_arrays,
    restore_optimizer,
    set_learning_rate,
    share_optimizer,
    warmup_steps,
)
from podsquad.runtimes.torch.ranks import Ranks
from podsquad.runtimes.torch.reader import InputForm, summed_loss

MODEL_GROUP, OPTIMIZER_GROUP = "model", "optimizer"
# A GPU's losses are looked at every so many steps: each look waits for it, and between looks it never waits for us.
GPU_LOOK_STEPS = 20


class Trainer:
    """One training, or one rank's part of it. Its state after a step is a pure function of what it was made with.

    ``model`` is changed in place. Randomness (dropout) is drawn from (seed, step, rank), so that no generator's state
    has to be carried over a resume.
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
        ranks: Ranks | None = None,
    ) -> None:
        self.model = model
        self.features = features
        self.history: list[dict[str, Any]] = []
        self.ledger = Ledger()
        self.num_steps = num_steps
        self.feeder = Feeder(features, form, batches, training, device, ranks or Ranks())
        self._ranks = ranks or Ranks()
        self._reader = model
        self._training = training
        self._batches = batches
        self._device = device
        self._num_warmup = warmup_steps(num_steps, training["warmup_share"])
        self._optimizer = make_optimizer(model, training)
        self._unseen: list[Tensor] = []  # losses of the last entries of the history, still on the device

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.history)

    def features_between(self, first: int, past: int) -> int:
        """Return how many features the steps from ``first`` to before ``past`` consume."""
        return sum(len(self.feeder.rows_of(step)) for step in range(first, past))

    def join(self) -> None:
        """Begin to train together with the other ranks, from the first one's state. One rank alone does nothing."""
        if self._ranks.size == 1:
            return
        step = self._ranks.share_number(self.step)
        if not self._ranks.is_first:
            self._restore_history(step, [{"step": done + 1, "loss": math.nan} for done in range(step)])
        find_unused = self._run_for_nothing()
        self._reader = self._ranks.wrap(self.model, find_unused=find_unused)
        if step:
            share_optimizer(self.model, self._optimizer, self._ranks.share_tensors)
        # Gradients are summed in buckets, which are settled after the first pass: in a training that was stopped as in
        # one that was not, steps shall find them as they stay.
        self._run_for_nothing()

    def run(self, checkpoints: Checkpoints | None, events: Events, stop: StopRequest) -> None:
        """Do the steps that are left, with checkpoints on the way; a rank that is not the first has none.

        Raises StoppedError when a stop is asked for, after a checkpoint, and DivergedError when a loss, or a weight
        that would go into a checkpoint or the result, is NaN or infinite.
        """
        self.model.train()
        interval: int = self._training["checkpoint_interval_steps"]
        began, consumed = time.monotonic(), 0
        saved = self.step
        while self.step < self.num_steps:
            if not self._do_step(stop):
                stop.set("another rank was asked to stop")
                self._look()
                if self.step > saved:
                    self._save(checkpoints, events)
                stop.raise_if_set(f"step {self.step} of {self.num_steps} is saved")
            consumed += len(self.feeder.rows_of(self.step - 1))
            saves = self.step % interval == 0 and self.step < self.num_steps
            if not (self._is_time_to_look() or saves):
                continue
            self._look()
            speed = consumed / max(time.monotonic() - began, 1e-9)
            left = (self.num_steps - self.step) * self._batches.batch_size / speed
            events.progress(
                self.step,
                self.num_steps,
                loss=self.history[-1]["loss"],
                learning_rate=self.history[-1]["learning_rate"],
                samples_per_second=round(speed, 3),
                seconds_left=round(left, 1),
            )
            if saves:
                self._save(checkpoints, events)
                saved = self.step
        self._refuse_bad_weights()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state. Raises InternalError when its ledger is not that of this order of samples."""
        self._restore_history(checkpoint.step, list(checkpoint.state["history"]))
        if self.ledger.digest != checkpoint.state["ledger"]:
            raise InternalError(
                f"the checkpoint of step {checkpoint.step} consumed other questions than this training would have",
                why="its ledger differs though its fingerprint does not: a bug in the order of samples",
                do="delete the training's work folder to start anew, and report this",
            )
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(torch.from_numpy(checkpoint.arrays[MODEL_GROUP][name]))
        restore_optimizer(self.model, self._optimizer, checkpoint.arrays[OPTIMIZER_GROUP])

    def _restore_history(self, step: int, history: list[dict[str, Any]]) -> None:
        self.ledger = Ledger()
        for done in range(step):
            self._enter(self.feeder.rows_of(done))
        self.history = history

    def _do_step(self, stop: StopRequest) -> bool:
        """Do one step; False, and nothing is changed, when a stop is asked for, of this rank or another."""
        step = self.step
        rows = self.feeder.rows_of(step)
        rate = learning_rate_at(step, self.num_steps, self._num_warmup, self._training["learning_rate"])
        torch.manual_seed(self._ranks.random_seed(self._training["seed"], step))
        loss = self._add_gradients(rows, stop)
        if loss is None:
            self._optimizer.zero_grad(set_to_none=True)
            return False
        self._unseen.append(loss)
        self.history.append({"step": step + 1, "loss": None, "learning_rate": rate})
        if self._device.type == "cpu":
            self._look()  # costs nothing there, and spares the weights
        if self._training["max_gradient_norm"] is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._training["max_gradient_norm"])
        set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._enter(rows)
        return True

    def _add_gradients(self, rows: np.ndarray, stop: StopRequest) -> Tensor | None:
        """Run the step's micro-batches forward and backward; return the mean loss over its sequences, on the device.

        None when a stop is asked for meanwhile: a step of a large batch on a CPU takes longer than a stop may. Ranks
        have the same answer: they agree before the micro-batch in whose backward pass they exchange gradients.
        """
        pieces = self.feeder.pieces(rows)
        weight = 1 / len(rows)
        if not pieces:  # fewer features than ranks: run one that does not count, for the others' sake
            pieces, weight = [rows[:1]], 0.0
        total = torch.zeros((), device=self._device)
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            if is_last and self._ranks.agree(bool(stop)):
                return None
            if is_last:
                total += self._pass(piece, weight)
            elif not stop:
                with self._ranks.apart(self._reader):
                    total += self._pass(piece, weight)
        return self._ranks.sum(total)

    def _pass(self, piece: np.ndarray, weight: float) -> Tensor:
        """Run one micro-batch forward and backward; return its weighted loss."""
        batch, starts, ends = self.feeder.take(piece)
        with arithmetic(self._device, self._training["precision"]):
            loss = summed_loss(self._reader, batch, starts, ends) * weight
        # Ranks average their gradients, whose sum is the step's.
        (loss * self._ranks.size).backward()
        return loss.detach()

    def _run_for_nothing(self) -> bool:
        """Run one feature forward and backward and forget it; return whether a parameter took no part in it."""
        self.model.train()
        self._pass(self.feeder.rows_of(0)[:1], 0.0)
        lacks = any(parameter.grad is None for parameter in self.model.parameters() if parameter.requires_grad)
        self._optimizer.zero_grad(set_to_none=True)
        return lacks

    def _is_time_to_look(self) -> bool:
        return self._device.type == "cpu" or self.step % GPU_LOOK_STEPS == 0 or self.step == self.num_steps

    def _look(self) -> None:
        """Fetch the losses that are still on the device. Raises DivergedError for the first that is no number."""
        if not self._unseen:
            return
        losses: list[float] = torch.stack(self._unseen).tolist()
        self._unseen = []
        for entry, loss in zip(self.history[-len(losses) :], losses, strict=True):
            entry["loss"] = loss
            if not math.isfinite(loss):
                what = f"the loss of step {entry['step']} of {self.num_steps} is {loss}"
                raise self._diverged(what, entry["step"], entry["learning_rate"])

    def _enter(self, rows: np.ndarray) -> None:
        self.ledger.enter(rows, self.features.question_hash[rows])

    def _save(self, checkpoints: Checkpoints | None, events: Events) -> None:
        self._refuse_bad_weights()
        if checkpoints is None:
            return
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        arrays = {MODEL_GROUP: weights, OPTIMIZER_GROUP: optimizer_arrays(self.model, self._optimizer)}
        state = {
            "ledger": self.ledger.digest,
            "history": self.history,
            "random": "torch.manual_seed from (training.seed, step, rank) before every step: nothing to carry",
        }
        checkpoints.save(self.step, arrays, state)
        events.checkpoint(self.step)

    def _refuse_bad_weights(self) -> None:
        if not all_finite(self.model.parameters()):
            what = f"a weight is NaN or infinite after step {self.step} of {self.num_steps}"
            raise self._diverged(what, self.step + 1, None)

    def _diverged(self, what: str, step: int, rate: float | None) -> DivergedError:
        before = ", ".join(f"{entry['loss']:.4g}" for entry in self.history[max(step - 4, 0) : step - 1]) or "none"
        at = "" if rate is None else f" at learning rate {rate:.3g}"
        return DivergedError(
            what + at,
            why=f"often a learning rate that is too high; the losses before: {before}. No checkpoint was written",
            do="lower training.learning_rate, raise training.warmup_share, or set training.max_gradient_norm=1.0",
        )
