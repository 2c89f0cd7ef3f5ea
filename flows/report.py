"""What a run tells when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podsquad.data.dataset import Questions, read_questions
from podsquad.evaluation.report import read_metrics
from podsquad.history import training_record
from podsquad.stages.builders import read_publication
from podsquad.stages.catalog import STAGES
from tasks.reference import ArtifactReference


def report_run(profile: str, outcomes: Sequence[ArtifactReference], *, note: str = "") -> dict[str, Any]:
    """Return the run's report: JSON values, one entry per stage, and scores and publication at the top.

    ``is_published`` False: the run was to end after evaluate; then there is no publication, and ``model`` lies in the
    store.
    """
    paths = {outcome.stage: outcome.artifact().path for outcome in outcomes}
    metrics = read_metrics(paths["evaluate"])
    publication = read_publication(paths["publish"]) if "publish" in paths else None
    return {
        "profile": profile,
        "note": note,
        "exact_match": metrics["exact_match"],
        "f1": metrics["f1"],
        "num_questions": metrics["num_questions"],
        "emulated": bool(training_record(paths["train"]).get("emulated", False)),
        "is_published": publication is not None,
        "publication": publication["path"] if publication else None,
        "pointer": publication["pointer"] if publication else None,
        "model": publication["pointer"] if publication else str(paths["train"] / "model"),
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


def _example(questions: Questions) -> dict[str, str]:
    """Return an unseen question to ask the model: the one with the shortest passage."""
    row = min(range(len(questions)), key=lambda row: len(questions.contexts[row]))
    return {"question": questions.questions[row], "context": questions.contexts[row]}
