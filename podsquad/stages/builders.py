"""The six builders: each reads its settings and inputs and calls the one domain function that does the work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from podsquad.errors import DataError
from podsquad.pod import launcher_command
from podsquad.reporting import Reporter
from podsquad.runtimes.guard import Claim, device_claimed
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from podsquad.stages.resolved import runtime_sections, tokenizer_settings
from podsquad.stages.runtimes import Verb
from podsquad.stages.stage import Building
from podsquad.store.durable import write_json

PUBLICATION_FILE = "publication.json"


def build_download(building: Building) -> None:
    """Make the dataset."""
    from podsquad.data.dataset import build_dataset

    build_dataset(building.settings.data, building.output, log=building.reporter.log)


def build_tokenize(building: Building) -> None:
    """Make the features."""
    from podsquad.data.features import build_features

    build_features(
        tokenizer_settings(building.settings),
        building.inputs["download"].path,
        building.output,
        progress=building.reporter.progress,
        log=building.reporter.log,
    )


def build_compile(building: Building) -> None:
    """Make the executable."""
    inputs = {"features": building.inputs["tokenize"].path}
    # Compiling for IPUs takes minutes, and a program does not depend on all that the stage's key does: the data, the
    # code. The runtime looks among earlier executables for programs of the same graph.
    if building.settings.runtime.name == "ipu" and (earlier := building.settings.store.path / "compile").is_dir():
        inputs["earlier"] = earlier
    _run(building, "compile", inputs, building.output)


def build_train(building: Building) -> None:
    """Make the model."""
    inputs = {"features": building.inputs["tokenize"].path, "executable": building.inputs["compile"].path}
    _run(building, "train", inputs, building.output)


def build_evaluate(building: Building) -> None:
    """Make the evaluation: the runtime predicts, then the answers are found and scored here."""
    from podsquad.evaluation.report import build_evaluation

    dataset, features, model = (building.inputs[name].path for name in ("download", "tokenize", "train"))
    logits = building.work / "logits"
    shutil.rmtree(logits, ignore_errors=True)  # an earlier attempt's; a runtime is promised an empty folder
    logits.mkdir()
    _run(building, "predict", {"features": features, "model": model}, logits)
    build_evaluation(building.settings.evaluation, dataset, features, logits, model, building.output)


def build_publish(building: Building) -> None:
    """Publish the model, and record where it went."""
    from podsquad.data.arrow import LAYOUT_FILE, read_layout
    from podsquad.data.dataset import read_origin, read_report
    from podsquad.evaluation.report import read_metrics
    from podsquad.publishing.folder import publish_to_folder
    from podsquad.publishing.model_card import write_model_card

    settings = building.settings.publish
    dataset, features, model, evaluation = (
        building.inputs[name].path for name in ("download", "tokenize", "train", "evaluate")
    )
    metrics = read_metrics(evaluation)
    card = write_model_card(
        name=settings.name,
        settings=building.settings.model_dump(mode="json"),
        metrics=metrics,
        training=_training_record(model),
        origin=read_origin(dataset),
        report=read_report(dataset),
        layout=read_layout(features),
    )
    names = ("plots/loss.png", "plots/f1_by_slice.png", "metrics.json")
    publication = publish_to_folder(
        settings.folder,
        settings.name,
        model / "model",
        card,
        {name: evaluation / name for name in names} | {LAYOUT_FILE: features / LAYOUT_FILE},
        building.key,
    )
    building.reporter.log(f"published {publication.path}")
    record = {
        "folder": publication.folder,
        "name": publication.name,
        "key": publication.key,
        "path": str(publication.path),
        "pointer": str(publication.pointer),
        "exact_match": metrics["exact_match"],
        "f1": metrics["f1"],
    }
    write_json(building.output / PUBLICATION_FILE, record)


def why_publication_is_stale(artifact: Path) -> str:
    """Say why the target no longer holds what a publication's record tells; empty when it does."""
    from podsquad.publishing.folder import Publication, holds

    record = read_publication(artifact)
    publication = Publication(record["folder"], record["name"], record["key"])
    return "" if holds(publication) else f"{publication.pointer} does not hold this version"


def read_publication(artifact: Path) -> dict[str, Any]:
    """Return a publication's record. Raises DataError."""
    try:
        record: dict[str, Any] = json.loads((artifact / PUBLICATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {artifact / PUBLICATION_FILE}: {error}", do="run again") from error
    return record


def _training_record(model: Path) -> dict[str, Any]:
    """Return what a training recorded, with the times and the machine, which the digest leaves out."""
    record: dict[str, Any] = {}
    for name in ("training.json", "record/training.json"):
        record |= json.loads((model / name).read_text(encoding="utf-8"))
    return record


def _run(building: Building, verb: Verb, inputs: Mapping[str, Path], output: Path) -> None:
    runtime = building.settings.runtime
    job = Job(
        verb=verb,
        inputs={name: str(path) for name, path in inputs.items()},
        output=str(output),
        work=str(building.work),
        settings=runtime_sections(building.settings),
    )
    with _device(building, verb, job.settings["runtime"]["device"]) as claim:
        run_job(
            job,
            runtime.name,
            python=runtime.python,
            launcher=launcher_command(building.settings, verb),
            hang_seconds=runtime.hang_seconds,
            inherited=(*building.inherited, claim.handle) if claim else building.inherited,
            on_start=claim.tell if claim else lambda pid: None,
            on_event=lambda event: _tell(building.reporter, event),
        )


def _device(building: Building, verb: str, device: str) -> AbstractContextManager[Claim | None]:
    runtime = building.settings.runtime
    is_offline = runtime.name == "ipu" and verb == "compile"  # no IPU is attached
    if runtime.exclusive == "never" or (runtime.exclusive == "auto" and (device == "cpu" or is_offline)):
        return nullcontext()
    return device_claimed(
        device,
        f"{verb} of {building.settings.publish.name} with the profile {building.settings.profile}",
        wait_seconds=runtime.exclusive_wait_seconds,
        log=building.reporter.log,
        folder=runtime.lock_folder,
    )


def _tell(reporter: Reporter, event: Mapping[str, Any]) -> None:
    kind = event["event"]
    if kind == "log":
        reporter.log(str(event.get("message", "")), str(event.get("level", "info")))
    elif kind == "decision":
        value = event.get("value")
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        reporter.log(f"{event.get('name')}: {shown} ({event.get('reason')})")
    elif kind == "checkpoint":
        reporter.log(f"checkpoint of step {event.get('step')} is complete", "debug")
    elif kind == "progress":
        known = ("loss", "learning_rate", "samples_per_second", "seconds_left")
        figures = {name: float(event[name]) for name in known if name in event}
        reporter.progress(int(event["step"]), int(event["total_steps"]), figures)
