"""optimum-graphcore's trainer with what it lacks: our order of samples, checkpoints that are complete or absent, resume
with the device's random state, losses as they are, and a stop that is heard.

The loop, the optimizer, the schedule and the compilation are its own. Runs on Python 3.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import poptorch
import torch
from optimum.graphcore import IPUTrainer
from optimum.graphcore.trainer import IPUTrainerState
from transformers import PrinterCallback, TrainerCallback

from podsquad.errors import DivergedError, InternalError
from podsquad.runtimes.checkpoints import Checkpoint
from podsquad.runtimes.ipu.rows import Rows, StepSampler
from podsquad.runtimes.ipu.state import restore_host_random, saved_host_random

MODEL_GROUP, STATE_GROUP, PARAM_GROUP, RANDOM_GROUP = "model", "optimizer_state", "optimizer_param", "random"


class PodTrainer(IPUTrainer):  # type: ignore[misc]
    """An IPUTrainer over features; see the module.

    ``sampler`` None: it predicts only. ``save`` takes a checkpoint's groups of arrays and its JSON values.
    ``programs``: what was in there when it was made was compiled before; ``num_compiled`` counts what was added.
    """

    def __init__(
        self,
        *,
        programs: Path,
        sampler: StepSampler | None = None,
        train_collator: Any = None,
        save: Callable[[dict[str, dict[str, np.ndarray]], dict[str, Any]], None] | None = None,
        **given: Any,
    ) -> None:
        # Before the constructor: with compile_only it compiles and ends the interpreter.
        self._programs = programs
        self._before = {path.name for path in programs.iterdir()}
        self._sampler = sampler
        self._train_collator = train_collator
        self._save_arrays = save
        self._checkpoint: Checkpoint | None = None
        self.last_loss = math.nan
        super().__init__(**given)
        self.remove_callback(PrinterCallback)

    @property
    def num_compiled(self) -> int:
        """Programs that were compiled since this trainer was made, not read from its folder."""
        return len({path.name for path in self._programs.iterdir()} - self._before)

    def get_train_dataloader(self) -> Any:
        """Return the loader of the sampler's rows; a step's batch is the product of the plan."""
        sampler = self._sampler
        if sampler is None:
            raise InternalError(
                "this trainer was made to predict, not to train",
                why="it was given no order of samples",
                do="report this with the log as a defect of podsquad",
            )
        return poptorch.DataLoader(
            self.opts,
            Rows(sampler.num_features),
            batch_size=self.args.per_device_train_batch_size,
            sampler=sampler,
            collate_fn=self._train_collator,
            drop_last=True,
            # Of its own: whoever goes on in mid-epoch begins another iteration, and each takes a number from its
            # generator.
            generator=torch.Generator(),
            auto_distributed_partitioning=False,
        )

    def training_step(self, model: Any, inputs: Any) -> torch.Tensor:
        """Do one step; its loss is the mean over the last micro-batch of each replica."""
        loss = super().training_step(model, inputs)
        self.last_loss = float(loss)
        return loss

    def go_on_from(self, checkpoint: Checkpoint, folder: Path) -> Any:
        """Train from ``checkpoint`` to the end; ``folder`` is scratch."""
        self._checkpoint = checkpoint
        folder.mkdir(parents=True, exist_ok=True)
        IPUTrainerState(global_step=checkpoint.step).save_to_json(str(folder / "trainer_state.json"))
        return self.train(resume_from_checkpoint=str(folder))

    def save_checkpoint(self) -> None:
        """Save weights, optimizer, and the random states of host and device."""
        self._save_checkpoint(self.training_model)

    def finite_weights(self) -> bool:
        """Bring the weights to the host and tell whether all of them are numbers."""
        self.training_model.copyWeightsToHost()
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters())

    # What follows takes the place of the trainer's own reading and writing of checkpoints, which uses pickles, can be
    # cut short by a kill and leaves the device's random state out.

    def _save_checkpoint(self, model: Any, metrics: Any = None) -> None:
        if not self.finite_weights():
            raise DivergedError(
                f"a weight is NaN or infinite after step {self.state.global_step}",
                why="often a learning rate or a loss scaling that is too high. No checkpoint was written",
                do="lower training.learning_rate or ipu.loss_scaling, or raise training.warmup_share",
            )
        optimizer = self.optimizer.state_dict()
        host_arrays, host_state = saved_host_random()
        arrays = {
            MODEL_GROUP: {name: tensor.detach().numpy() for name, tensor in self.model.state_dict().items()},
            STATE_GROUP: _arrays(optimizer["ipu_state"]),
            PARAM_GROUP: _arrays(optimizer["ipu_param"]),
            RANDOM_GROUP: {**host_arrays, "device": np.array(self.training_model.rng_state, np.uint64)},
        }
        if self._save_arrays is None:
            raise InternalError(
                "this trainer has nowhere to save to",
                why="it was made to predict or to compile, not to train",
                do="report this with the log as a defect of podsquad",
            )
        self._save_arrays(arrays, {"host_random": host_state})

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        saved = self._saved.arrays[MODEL_GROUP]
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(torch.from_numpy(saved[name].copy()))

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        if checkpoint is None:
            return
        fresh = torch.optim.Optimizer.state_dict(self.optimizer)
        self.optimizer.load_state_dict(
            {
                **fresh,
                "ipu_state": _tensors(self._saved.arrays[STATE_GROUP]),
                "ipu_param": _tensors(self._saved.arrays[PARAM_GROUP]),
            }
        )
        # The schedule is a function of the step.
        scheduler, step = self.lr_scheduler, self._saved.step
        scheduler.last_epoch, scheduler._step_count = step, step + 1
        rates = [base * rate_at(step) for base, rate_at in zip(scheduler.base_lrs, scheduler.lr_lambdas)]
        for group, rate in zip(self.optimizer.param_groups, rates):
            group["lr"] = rate
        scheduler._last_lr = rates
        self.training_model.setOptimizer(self.optimizer)

    def _load_rng_state(self, checkpoint: Any) -> None:
        if checkpoint is None:
            return
        arrays = self._saved.arrays[RANDOM_GROUP]
        restore_host_random(arrays, self._saved.state["host_random"])
        # After compiling and before the first step: the executor takes it only then.
        self.training_model.rng_state = [int(value) for value in arrays["device"]]

    @property
    def _saved(self) -> Checkpoint:
        if self._checkpoint is None:
            raise InternalError(
                "the trainer goes on from a checkpoint that it was not given",
                why="optimum-graphcore asks for one only where it was told to go on from it",
                do="report this with the log as a defect of podsquad",
            )
        return self._checkpoint


class StepCallback(TrainerCallback):  # type: ignore[misc]
    """Calls ``begin`` with the number of steps done before an epoch's first one, and ``done`` after every step.

    ``done`` gets the step (counted from 1) and its learning rate; it returns True to end the training there.
    """

    def __init__(self, begin: Callable[[int], None], done: Callable[[int, float], bool]) -> None:
        self._begin = begin
        self._done = done
        self._rate = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell where the epoch's first step is."""
        self._begin(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Note the rate: after the step the schedule has moved on."""
        self._rate = float(optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Tell of the step."""
        if self._done(state.global_step, self._rate):
            control.should_training_stop = True
        return control


def _arrays(tensors: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in (tensors or {}).items()}


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


class PredictionCallback(TrainerCallback):  # type: ignore[misc]
    """Calls ``done`` with the number of batches predicted, after each; what it raises ends the prediction."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self._done = done
        self._batches = 0

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the batch."""
        self._batches += 1
        self._done(self._batches)
