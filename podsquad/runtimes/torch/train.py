"""The train verb: from features and an executable to a model.

model/                  config.json, model.safetensors and the tokenizer: transformers loads it unchanged
history.jsonl           step, loss and learning rate of every step
training.json           what was done: steps, epochs, losses, the ledger, versions
record/training.json    times and the machine
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from podsquad.data.arrow import Features, read_layout
from podsquad.errors import InputMissingError
from podsquad.runtimes.batch_plan import total_steps
from podsquad.runtimes.checkpoints import Checkpoints
from podsquad.runtimes.job import Events, Job, StopRequest
from podsquad.runtimes.plan_file import read_plan
from podsquad.runtimes.torch.attention_route import FLASH
from podsquad.runtimes.torch.cpu import suit_to_cpu
from podsquad.runtimes.torch.device import describe_device, library_versions, peak_memory, set_up
from podsquad.runtimes.torch.fingerprint import training_fingerprint
from podsquad.runtimes.torch.model import build_model, load_config
from podsquad.runtimes.torch.plan import FORMAT_VERSION, check_plan
from podsquad.runtimes.torch.programs import PROGRAMS_FOLDER, compile_model, tell_compiled_anew, use_programs
from podsquad.runtimes.torch.ranks import Ranks, find_meeting, leave, meet, open_meeting, rank_device
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.siblings import Siblings
from podsquad.runtimes.torch.static import static_size_of
from podsquad.runtimes.torch.trainer import Trainer
from podsquad.store.durable import canonical_json, write_bytes, write_json

MODEL_FOLDER = "model"
TOKENIZER_FOLDER = "tokenizer"


def train_job(job: Job, events: Events, stop: StopRequest) -> None:
    """Fill ``job.output`` with the model trained on ``job.inputs["features"]`` by ``job.inputs["executable"]``.

    Goes on from the newest whole checkpoint of the same training in ``job.work``. On the CPU, and on one CUDA device
    with deterministic kernels, the result has the same bytes however often it was stopped or killed on the way, for
    the same number of threads and processes. With ``runtime.processes`` above 1 it starts the others, and ends this
    process with a failure event when one of them is lost.

    Raises StoppedError after a checkpoint when a stop is asked for, DivergedError when the loss or the weights are
    no numbers, DataError or SettingsError for inputs that do not fit, and what loading the base model raises.
    """
    size = job.settings["runtime"]["processes"]
    device = rank_device(job.settings["runtime"], set_up(job.settings["runtime"]), 0)
    if size == 1:
        _train(job, events, stop, device, Ranks())
        return
    meeting = open_meeting(size)
    with Siblings(job, size, meeting.port, events, stop):
        _train(job, events, stop, device, meet(meeting, 0, size, device))
        leave()


def train_as_sibling(job: Job, events: Events, stop: StopRequest, rank: int, port: int) -> None:
    """Take part as the rank ``rank`` in the training of the first one, which waits at ``port``. Writes nothing."""
    size = job.settings["runtime"]["processes"]
    device = rank_device(job.settings["runtime"], set_up(job.settings["runtime"]), rank)
    _train(job, events, stop, device, meet(find_meeting(port, size), rank, size, device))
    leave()


def _train(job: Job, events: Events, stop: StopRequest, device: torch.device, ranks: Ranks) -> None:
    features_folder, executable = Path(job.inputs["features"]), Path(job.inputs["executable"])
    settings, training = job.settings, job.settings["training"]
    layout = read_layout(features_folder)
    plan = read_plan(executable, FORMAT_VERSION, settings["runtime"]["device"])
    batches = check_plan(plan, settings, layout)
    features = Features(features_folder, "train")
    steps = total_steps(batches, training["epochs"], training["drop_last"])
    config = load_config(settings["model"], layout, log=events.log)
    formulation, size = plan["formulation"]["value"], static_size_of(plan)
    model = build_model(settings["model"], config, seed=training["seed"], formulation=formulation, log=events.log)
    fingerprint = training_fingerprint(settings, plan, features_folder, model)
    if plan["compiled"]["value"]:
        use_programs(executable / PROGRAMS_FOLDER, Path(job.work), ranks.rank)
        compile_model(model)
    elif device.type == "cpu":
        for name, value, reason in suit_to_cpu(model, is_alone=ranks.size == 1):
            events.decision(name, value, reason)
    trainer = Trainer(
        model=model.to(device),
        form=InputForm.of(config, layout, formulation, size, grouped=plan["attention"]["value"] != FLASH),
        features=features,
        training=training,
        batches=batches,
        num_steps=steps,
        device=device,
        ranks=ranks,
    )
    resumed_from = 0
    checkpoints = None
    if ranks.is_first:
        checkpoints = Checkpoints(Path(job.work) / "checkpoints", fingerprint, events.log)
        if (checkpoint := checkpoints.newest()) is not None:
            trainer.restore(checkpoint)
            resumed_from = checkpoint.step
            events.log(f"going on from the checkpoint of step {checkpoint.step} of {steps}")
    trainer.join()
    began = time.monotonic()
    try:
        trainer.run(checkpoints, events, stop)
    finally:  # also of a training that is stopped: every one may be
        if plan["compiled"]["value"]:
            tell_compiled_anew(events)
    seconds = time.monotonic() - began
    if ranks.is_first:
        _write_model(trainer, features_folder / TOKENIZER_FOLDER, Path(job.output))
        _write_records(trainer, job, device, formulation, resumed_from, seconds)


def _write_model(trainer: Trainer, tokenizer: Path, output: Path) -> None:
    folder = output / MODEL_FOLDER
    if not tokenizer.is_dir():
        raise InputMissingError(
            f"the features hold no tokenizer: {tokenizer} is not there",
            why="a model is published with the tokenizer of its features",
            do="run again with --refresh tokenize",
        )
    trainer.model.save_pretrained(folder)
    for path in sorted(tokenizer.iterdir()):
        shutil.copyfile(path, folder / path.name)


def _write_records(
    trainer: Trainer, job: Job, device: torch.device, formulation: str, resumed_from: int, seconds: float
) -> None:
    output, history, training = Path(job.output), trainer.history, job.settings["training"]
    lines = "".join(canonical_json(entry) + "\n" for entry in history)
    write_bytes(output / "history.jsonl", lines.encode("utf-8"))
    losses = [entry["loss"] for entry in history]
    made = _made(trainer, losses, training, device)
    made |= {"formulation": formulation, "processes": job.settings["runtime"]["processes"]}
    write_json(output / "training.json", made)
    (output / "record").mkdir()
    num_features = trainer.features_between(resumed_from, len(history))
    record: Mapping[str, Any] = {
        "seconds": round(seconds, 3),
        "samples_per_second": round(num_features / seconds, 3) if seconds > 0 else None,
        "threads": torch.get_num_threads(),
        "device_name": describe_device(device),
        "resumed_from": resumed_from,
        **peak_memory(device),
    }
    write_json(output / "record" / "training.json", record)


def _made(trainer: Trainer, losses: list[float], training: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        "steps": len(losses),
        "epochs": training["epochs"],
        "num_features": len(trainer.features),
        "num_parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "mean_loss": sum(losses) / len(losses),
        "final_loss": losses[-1],
        "device": device.type,
        "dtype": training["precision"],
        "ledger": trainer.ledger.digest,
        "versions": library_versions(),
    }
