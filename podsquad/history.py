"""What the nights came to: scores and publications, as the store remembers them.

A night that changed nothing made nothing, so it leaves no entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podsquad.publishing.folder import Publication
from podsquad.stages.run import BUILD_RECORD
from podsquad.store.artifacts import MANIFEST_FILE


@dataclass(frozen=True)
class PastRun:
    """One evaluation and, where it was published, its publication."""

    when: datetime  # when its last artifact was complete
    profile: str  # empty: made before that was recorded
    exact_match: float  # percent, as F1
    f1: float
    num_questions: int
    steps: int | None
    seconds: float | None  # of the training
    publication: str  # the version's folder; empty: not published
    is_current: bool  # True: it is what users of the model get now
    evaluation: str  # digest of the evaluation
    evaluation_path: str
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]  # as in metrics.json

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "when": self.when.isoformat(timespec="seconds"), "slices": dict(self.slices)}


@dataclass(frozen=True)
class _Found:
    """An artifact by its manifest; its files are not verified."""

    path: Path
    digest: str
    inputs: Mapping[str, str]
    when: datetime


def past_runs(store: Path) -> list[PastRun]:
    """Return what the store holds, the newest first; what cannot be read is left out. Nothing is verified or written.

    An evaluation that was published to several places stands once for each.
    """
    models = {found.digest: found for found in _artifacts(store, "train")}
    publications = list(_artifacts(store, "publish"))
    runs = []
    for evaluation in _artifacts(store, "evaluate"):
        if not (metrics := _read(evaluation.path / "metrics.json")):
            continue
        model = models.get(evaluation.inputs.get("train", ""))
        published = [each for each in publications if each.inputs.get("evaluate") == evaluation.digest]
        if published:
            runs += [_past_run(evaluation, metrics, model, each) for each in published]
        else:
            runs.append(_past_run(evaluation, metrics, model, None))
    return sorted(runs, key=lambda run: run.when, reverse=True)


def champion_for(runs: list[PastRun], evaluation: str, home: Path) -> PastRun | None:
    """Return the publication below ``home`` to compare an evaluation with; None: there is none.

    It is the current one, or, where that is of this very evaluation, the newest one before.
    """
    others = [run for run in runs if run.publication and run.evaluation != evaluation]
    there = [run for run in others if Path(run.publication).parent.parent.absolute() == home.absolute()]
    return next((run for run in there if run.is_current), there[0] if there else None)


def training_record(model: Path) -> dict[str, Any]:
    """Return what a training recorded, with times and machine; empty where it cannot be read."""
    return _read(model / "training.json") | _read(model / "record/training.json")


def _past_run(evaluation: _Found, metrics: dict[str, Any], model: _Found | None, publication: _Found | None) -> PastRun:
    training = training_record(model.path) if model else {}
    last = publication or evaluation
    record = _read(publication.path / "publication.json") if publication else {}
    target = Publication(record["folder"], record["name"], record["key"]) if record else None
    return PastRun(
        when=last.when,
        profile=str(_read(last.path / BUILD_RECORD).get("profile", "")),
        exact_match=metrics["exact_match"],
        f1=metrics["f1"],
        num_questions=metrics["num_questions"],
        steps=training.get("steps"),
        seconds=training.get("seconds"),
        publication=str(target.path) if target else "",
        is_current=target is not None and target.pointer.resolve() == target.path.resolve(),
        evaluation=evaluation.digest,
        evaluation_path=str(evaluation.path),
        slices=metrics.get("slices", {}),
    )


def _artifacts(store: Path, stage: str) -> Iterator[_Found]:
    for manifest in (store / stage).glob(f"[!.]*/{MANIFEST_FILE}"):
        content = _read(manifest)
        try:
            when = datetime.fromtimestamp(manifest.stat().st_mtime, UTC)
            yield _Found(manifest.parent, content["digest"], content["ingredients"]["inputs"], when)
        except (OSError, KeyError, TypeError):
            continue  # whoever looks its key up is told


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one for a file that is not there or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
