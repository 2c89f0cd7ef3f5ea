"""The six builders: each reads its settings and inputs and calls the one domain function that does the work."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from podsquad.pod import launcher_command
from podsquad.reporting import Reporter
from podsquad.runtimes.guard import Claim, device_claimed
from podsquad.runtimes.job import FIGURES, Job
from podsquad.runtimes.launch import run_job
from podsquad.stages.resolved import runtime_sections, tokenizer_settings
from podsquad.stages.runtimes import Verb
from podsquad.stages.stage import Building


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
    """Ask the gate, and publish the model that it lets pass."""
    from podsquad.publishing.places import target_of
    from podsquad.publishing.publish import PublishOrder, publish_challenger
    from podsquad.publishing.smoke import smoke_question
    from podsquad.publishing.verdicts import read_verdicts, remember_verdict

    paths = {name: artifact.path for name, artifact in building.inputs.items()}
    log, store = building.reporter.log, building.settings.store.path
    with target_of(building.settings.publish, log, building.work) as target:
        publish_challenger(
            PublishOrder(
                settings=building.settings,
                inputs=paths,
                output=building.output,
                work=building.work,
                target=target,
                smoke=smoke_question(paths["download"], paths["evaluate"], log),
                rescore=lambda champion: _rescore(building, champion),
                earlier=read_verdicts(store),
                remember=lambda verdict: remember_verdict(store, verdict),
                log=log,
            )
        )


def why_publication_is_stale(artifact: Path) -> str:
    """Say why the target no longer holds what a verdict rests on; empty when it does."""
    from podsquad.publishing.places import target_at
    from podsquad.publishing.publish import read_publication, why_stale

    with target_at(read_publication(artifact)) as target:
        return why_stale(artifact, target)


def _rescore(building: Building, champion: Path) -> Any:
    """Score a champion, whose published files lie in the folder's ``model``, on the challenger's questions."""
    from podsquad.publishing.rescore import features_for, score_again

    dataset = building.inputs["download"].path
    features = features_for(
        champion / "model",
        building.inputs["train"].path / "model",
        building.inputs["tokenize"].path,
        dataset,
        building.settings.features,
        building.work / "champion-features",
        log=building.reporter.log,
    )
    logits = building.work / "champion-logits"
    shutil.rmtree(logits, ignore_errors=True)
    logits.mkdir()
    # A published model comes without programs: those of this run fit where the graph is the same.
    executable = building.inputs["compile"].path
    _run(building, "predict", {"features": features, "model": champion, "executable": executable}, logits)
    return score_again(building.settings.evaluation, dataset, features, logits)


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
        figures = {name: float(event[name]) for name in FIGURES if name in event}
        reporter.progress(int(event["step"]), int(event["total_steps"]), figures)
