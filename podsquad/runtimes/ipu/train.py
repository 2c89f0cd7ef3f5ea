"""The train verb: from features and an executable to a model.

model/                  config.json, model.safetensors and the tokenizer: transformers loads it unchanged
history.jsonl           step, loss and learning rate of every step
training.json           what was done: steps, epochs, losses, the ledger, versions, and whether it was emulated
programs/               the executable's programs, for the prediction
record/training.json    times and the machine

A step's loss is that of the last micro-batch of each replica: the program returns no other. Runs on Python 3.8.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from podsquad.data.arrow import Features
from podsquad.errors import DivergedError, InternalError
from podsquad.runtimes.checkpoints import Checkpoint, Checkpoints
from podsquad.runtimes.ipu.plan import FORMAT_VERSION, check_graph
from podsquad.runtimes.ipu.programs import copy_programs, hand_on_programs
from podsquad.runtimes.ipu.work import PodWork
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.order import Ledger
from podsquad.runtimes.plan_file import read_plan
from podsquad.store.durable import canonical_json, write_bytes, write_json

_RUN_ONLY = ("checkpoint_interval_steps",)  # how often checkpoints are written alters no number


def train_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Fill ``job.output`` with the model trained on ``job.inputs["features"]`` by ``job.inputs["executable"]``.

    Goes on from the newest whole checkpoint of the same training in ``job.work``. In float32 without stochastic
    rounding the result has the same bytes however often it was stopped or killed on the way.

    Raises StoppedError after a checkpoint when a stop is asked for, DivergedError when the loss or the weights are no
    numbers, DataError or SettingsError for inputs that do not fit, and what loading the base model raises.
    """
    work = PodWork.begin(job, events)
    from podsquad.runtimes.ipu.model import build_model, load_config

    executable = Path(job.inputs["executable"])
    config = load_config(work.settings["model"], work.layout, log=events.log)
    work.check(config)
    plan = read_plan(executable, FORMAT_VERSION, "ipu")
    check_graph(plan, work.graph(config))
    key = plan["graph_key"]
    model = build_model(work.settings["model"], config, seed=int(work.settings["training"]["seed"]), log=events.log)
    checkpoints = Checkpoints(Path(job.work) / "checkpoints", _fingerprint(work, plan, model), events.log)
    training = Training(work, model, config, copy_programs(executable, key, work.own), checkpoints, events, stop)
    training.run()
    if work.instance.is_first:
        hand_on_programs(executable, key, Path(job.output))
        training.write(Path(job.output), num_parameters=plan["num_parameters"])


class Training:
    """One training: its trainer, its history and its ledger."""

    def __init__(
        self,
        work: PodWork,
        model: Any,
        config: Any,
        programs: Path,
        checkpoints: Checkpoints,
        events: Events,
        stop: StopRequest,
    ) -> None:
        from podsquad.runtimes.ipu.rows import StepSampler
        from podsquad.runtimes.ipu.trainer import StepCallback

        self.history: list[dict[str, Any]] = []
        self.ledger = Ledger()
        self._work, self._checkpoints, self._events, self._stop = work, checkpoints, events, stop
        self._features: Features = work.features("train")
        self._recipe: Mapping[str, Any] = work.settings["training"]
        self._sampler = StepSampler(self._recipe["seed"], len(self._features), work.plan.batch, work.instance)
        self._num_steps = work.plan.steps(len(self._features), self._recipe["epochs"])
        self._resumed_from = 0
        self._began, self._seconds = 0.0, 0.0
        self._trainer = work.trainer(
            model,
            programs,
            sampler=self._sampler,
            train_collator=work.collator(self._features, config, with_labels=True),
            save=self._write_checkpoint,
            callbacks=[StepCallback(self._begin_epoch, self._step_done)],
        )

    def run(self) -> None:
        """Do the steps that are left. Raises StoppedError, DivergedError."""
        checkpoint = self._checkpoints.newest()
        if checkpoint is None:
            self._trainer.train()
        else:
            self._take_over(checkpoint)
            self._trainer.go_on_from(checkpoint, self._work.own / "resume")
        self._seconds = time.monotonic() - self._began
        if len(self.history) < self._num_steps:
            self._stop.raise_if_set(f"step {len(self.history)} of {self._num_steps} is saved")
            raise InternalError(
                f"the trainer ended after {len(self.history)} of {self._num_steps} steps",
                why="optimum-graphcore's loop ended by itself, unasked: a bug",
                do="report this with the runtime's stderr.log",
            )

    def write(self, output: Path, *, num_parameters: int) -> None:
        """Write the model and what is told of it."""
        from podsquad.runtimes.ipu.model import MODEL_FOLDER, write_model

        model = self._trainer.model
        model.deparallelize()
        write_model(model, self._work.features_folder / "tokenizer", output / MODEL_FOLDER)
        lines = "".join(canonical_json(entry) + "\n" for entry in self.history)
        write_bytes(output / "history.jsonl", lines.encode("utf-8"))
        write_json(output / "training.json", self._made(num_parameters))
        num_features = (len(self.history) - self._resumed_from) * self._work.plan.batch
        (output / "record").mkdir()
        record = {
            "seconds": round(self._seconds, 3),
            "samples_per_second": round(num_features / self._seconds, 3) if self._seconds > 0 else None,
            "threads": torch.get_num_threads(),
            "device_name": self._work.sdk.device_name(self._work.plan.num_ipus),
            "resumed_from": self._resumed_from,
            "programs_compiled": self._trainer.num_compiled,
        }
        write_json(output / "record" / "training.json", record)

    def _made(self, num_parameters: int) -> dict[str, Any]:
        plan, losses = self._work.plan, [entry["loss"] for entry in self.history]
        return {
            "steps": len(losses),
            "epochs": self._recipe["epochs"],
            "num_features": len(self._features),
            "num_parameters": num_parameters,
            "mean_loss": sum(losses) / len(losses),
            "final_loss": losses[-1],
            "loss_features": self._work.loss_features,
            "device": "ipu (emulated)" if self._work.sdk.is_emulated else "ipu",
            "emulated": self._work.sdk.is_emulated,
            "pod": plan.as_json(),
            "dtype": self._recipe["precision"],
            "ledger": self.ledger.digest,
            "versions": dict(self._work.sdk.versions),
        }

    def _take_over(self, checkpoint: Checkpoint) -> None:
        for step in range(checkpoint.step):
            self._enter(step)
        if self.ledger.digest != checkpoint.state["ledger"]:
            raise InternalError(
                f"the checkpoint of step {checkpoint.step} consumed other questions than this training would have",
                why="its ledger differs though its fingerprint does not: a bug in the order of samples",
                do="delete the training's work folder to start anew, and report this",
            )
        self.history = list(checkpoint.state["history"])
        self._resumed_from = checkpoint.step
        self._events.log(f"going on from the checkpoint of step {checkpoint.step} of {self._num_steps}")

    def _enter(self, step: int) -> None:
        rows = self._sampler.rows_of(step)
        self.ledger.enter(rows, self._features.question_hash[rows])

    def _begin_epoch(self, steps_done: int) -> None:
        self._sampler.begin_at(steps_done)
        if not self._began:  # here, not before: compiling, or loading what was compiled, is no training
            self._began = time.monotonic()
            if num_compiled := self._trainer.num_compiled:
                self._events.log(
                    f"training compiled {num_compiled} programs that were to be in the executable: its first step was "
                    "late by that time",
                    "warning",
                )
            else:
                self._events.log("the program comes from the executable: nothing was compiled")

    def _step_done(self, step: int, rate: float) -> bool:
        """Note a step; tell whether the training is to end here."""
        loss = self._trainer.last_loss
        if not math.isfinite(loss):
            losses = ", ".join(f"{entry['loss']:.4g}" for entry in self.history[-3:]) or "none"
            raise DivergedError(
                f"the loss of step {step} of {self._num_steps} is {loss} at learning rate {rate:.3g}",
                why=f"often a learning rate or a loss scaling that is too high; the losses before: {losses}. No "
                "checkpoint was written",
                do="lower training.learning_rate or ipu.loss_scaling, or raise training.warmup_share",
            )
        self._enter(step - 1)
        self.history.append({"step": step, "loss": loss, "learning_rate": rate})
        speed = (step - self._resumed_from) * self._work.plan.batch / max(time.monotonic() - self._began, 1e-9)
        left = (self._num_steps - step) * self._work.plan.batch / speed
        self._events.progress(
            step,
            self._num_steps,
            loss=loss,
            learning_rate=rate,
            samples_per_second=round(speed, 3),
            seconds_left=round(left, 1),
        )
        is_last = step == self._num_steps
        if not is_last and (self._stop or step % self._recipe["checkpoint_interval_steps"] == 0):
            self._trainer.save_checkpoint()
        if is_last and not self._trainer.finite_weights():
            raise DivergedError(
                f"a weight is NaN or infinite after step {step} of {self._num_steps}",
                why="often a learning rate or a loss scaling that is too high",
                do="lower training.learning_rate or ipu.loss_scaling, or raise training.warmup_share",
            )
        return bool(self._stop) or is_last

    def _write_checkpoint(self, arrays: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        if not self._work.instance.is_first:
            return
        step = len(self.history)
        self._checkpoints.save(step, arrays, {**state, "ledger": self.ledger.digest, "history": self.history})
        self._events.checkpoint(step)


def _fingerprint(work: PodWork, plan: Mapping[str, Any], model: Any) -> str:
    """Return the SHA-256 of all that shapes a training: recipe, plan, features, first weights, versions."""
    hashed = hashlib.sha256()
    recipe = {name: value for name, value in work.settings["training"].items() if name not in _RUN_ONLY}
    shared = {"training": recipe, "plan": plan, "loss_scaling": work.settings["ipu"]["loss_scaling"]}
    hashed.update(canonical_json(shared).encode("utf-8"))
    for name in ("layout.json", "train.arrow"):
        hashed.update(hashlib.sha256((work.features_folder / name).read_bytes()).digest())
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode("utf-8"))
        hashed.update(tensor.detach().contiguous().numpy())
    return hashed.hexdigest()
