"""What a run tells when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podsquad.config.section import StageName
from podsquad.data.dataset import Questions, read_questions
from podsquad.evaluation.report import read_metrics
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.publishing.receipt import training_record
from podsquad.stages.catalog import STAGES
from podsquad.unchanged import Unchanged
from tasks.reference import ArtifactReference


def report_run(
    profile: str, outcomes: Sequence[ArtifactReference], paths: Mapping[StageName, Path], *, note: str = ""
) -> dict[str, Any]:
    """Return the run's report: JSON values, one entry per stage, and scores and verdict at the top.

    ``paths`` are the artifacts of the outcomes, which the run has verified.

    ``summary`` says in a sentence or two what came of it. ``verdict`` is the gate's (None where the run was to end
    after evaluate): "unchanged" where everything was reused and the champion is this very model. ``is_published``: this
    run brought a version to the target. ``publication`` is the version that the target holds, ``model`` a folder to
    ask.
    """
    metrics = read_metrics(paths["evaluate"])
    verdict = read_verdict(paths["publish"], is_reused=outcomes[-1].is_reused) if "publish" in paths else None
    publication = read_publication(paths["publish"]) if "publish" in paths else None
    is_emulated = bool(training_record(paths["train"]).get("emulated", False))
    is_a_folder = publication is not None and publication.target == "folder" and bool(publication.key)
    return {
        "profile": profile,
        "note": note,
        "summary": _summary(metrics, verdict, is_emulated=is_emulated),
        "exact_match": metrics["exact_match"],
        "f1": metrics["f1"],
        "num_questions": metrics["num_questions"],
        "emulated": is_emulated,
        "verdict": verdict,
        "is_published": bool(verdict and verdict["is_published"]),
        "publication": publication.url if publication else None,
        "pointer": publication.current if publication else None,
        "model": publication.current if publication and is_a_folder else str(paths["train"] / "model"),
        "example": _example(read_questions(paths["download"], "validation")),
        "stages": [
            {
                "stage": outcome.stage,
                "state": "reused" if outcome.is_reused else "ran",
                "reason": outcome.reason,
                "key": outcome.key,
                "digest": outcome.digest,
                "artifact": STAGES[outcome.stage].artifact,
                "path": str(paths[outcome.stage]),
                "seconds": round(outcome.seconds, 2),
            }
            for outcome in outcomes
        ],
    }


def report_unchanged(profile: str, unchanged: Unchanged, *, note: str = "") -> dict[str, Any]:
    """Return the report of a run that made nothing: no stage, and no model in the store."""
    publication, metrics = unchanged.publication, unchanged.metrics
    is_emulated = "emulated" in unchanged.receipt.hardware.kind
    return {
        "profile": profile,
        "note": note,
        "summary": _summary(metrics, unchanged.verdict, is_emulated=is_emulated),
        "exact_match": metrics["exact_match"],
        "f1": metrics["f1"],
        "num_questions": metrics["num_questions"],
        "emulated": is_emulated,
        "verdict": unchanged.verdict,
        "is_published": False,
        "publication": publication.url,
        "pointer": publication.current,
        "model": publication.current if publication.target == "folder" else None,
        "example": None,
        "stages": [],
    }


def _summary(metrics: Mapping[str, Any], verdict: Mapping[str, Any] | None, *, is_emulated: bool) -> str:
    scores = f"Exact match {metrics['exact_match']:.2f}, F1 {metrics['f1']:.2f}."
    told = f"{verdict['verdict'].capitalize()}: {verdict['reason']}" if verdict else "Not to be published."
    return f"{'Emulated. ' if is_emulated else ''}{told} {scores}"


def _example(questions: Questions) -> dict[str, str]:
    """Return an unseen question to ask the model: the one with the shortest passage."""
    row = min(range(len(questions)), key=lambda row: len(questions.contexts[row]))
    return {"question": questions.questions[row], "context": questions.contexts[row]}
