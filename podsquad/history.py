"""What the nights came to: scores, verdicts and publications, as the store remembers them.

A night that changed nothing made nothing, so it leaves no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podsquad.config.publish_settings import PublishSettings
from podsquad.errors import PodsquadError
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.publishing.target import Publication, TargetState
from podsquad.stages.run import BUILD_RECORD
from podsquad.store.artifacts import MANIFEST_FILE
from podsquad.store.durable import parse_json

Look = Callable[[Publication], TargetState | None]
"""Returns what the target of a publication holds now; None: it was not asked, or does not answer."""


@dataclass(frozen=True)
class PastRun:
    """One evaluation and, where the gate was asked, its verdict and what became of the model."""

    when: datetime  # when its last artifact was complete
    profile: str  # empty: made before that was recorded
    exact_match: float  # percent, as F1
    f1: float
    num_questions: int
    steps: int | None
    seconds: float | None  # of the training
    verdict: str  # empty: the gate was not asked
    cause: str  # of a rejection
    place: str  # folder or repository; empty: the gate was not asked
    tag: str  # of the version that was published, or was current already; empty: it was not published
    publication: str  # where that version is
    is_current: bool  # True: it is what users of the model get now
    withdrawn: str  # why it was rolled back; empty: it was not
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


def look_at_folders(publication: Publication) -> TargetState | None:
    """Return what a folder holds; a repository on the Hub is not asked."""
    if publication.target != "folder":
        return None
    home = Path(publication.place)
    try:
        return FolderTarget(home.parent, home.name).state()
    except PodsquadError:
        return None


def past_runs(store: Path, look: Look = look_at_folders) -> list[PastRun]:
    """Return what the store holds, the newest first; what cannot be read is left out. Nothing is verified or written.

    An evaluation that was judged several times, or for several places, stands once for each. ``look`` is asked once for
    each place.
    """
    models = {found.digest: found for found in _artifacts(store, "train")}
    publications = list(_artifacts(store, "publish"))
    states: dict[str, TargetState | None] = {}

    def look_once(publication: Publication) -> TargetState | None:
        if publication.place not in states:
            states[publication.place] = look(publication)
        return states[publication.place]

    runs = []
    for evaluation in _artifacts(store, "evaluate"):
        if not (metrics := _read(evaluation.path / "metrics.json")):
            continue
        model = models.get(evaluation.inputs.get("train", ""))
        published = [each for each in publications if each.inputs.get("evaluate") == evaluation.digest]
        judged: list[_Found | None] = [*published] or [None]
        runs += [_past_run(evaluation, metrics, model, each, look_once) for each in judged]
    return sorted(runs, key=lambda run: run.when, reverse=True)


def champion_for(runs: list[PastRun], evaluation: str, settings: PublishSettings) -> PastRun | None:
    """Return the publication at the settings' target to compare an evaluation with; None: there is none.

    It is the current one, or, where that is of this very evaluation, the newest one before.
    """
    place = settings.repository if settings.target == "hub" else str((settings.folder / settings.name).absolute())
    others = [run for run in runs if run.tag and run.evaluation != evaluation]
    there = [run for run in others if place in (run.place, str(Path(run.place).absolute()))]
    return next((run for run in there if run.is_current), there[0] if there else None)


def training_record(model: Path) -> dict[str, Any]:
    """Return what a training recorded, with times and machine; empty where it cannot be read."""
    return _read(model / "training.json") | _read(model / "record/training.json")


def _past_run(
    evaluation: _Found, metrics: dict[str, Any], model: _Found | None, publication: _Found | None, look: Look
) -> PastRun:
    training = training_record(model.path) if model else {}
    last = publication or evaluation
    verdict, held = _judged(publication.path) if publication else ({}, None)
    # Of a rejected one, what the target holds is another's.
    own = held if verdict.get("is_published") or verdict.get("verdict") == "unchanged" else None
    state = look(held) if held else None
    return PastRun(
        when=last.when,
        profile=str(_read(last.path / BUILD_RECORD).get("profile", "")),
        exact_match=metrics["exact_match"],
        f1=metrics["f1"],
        num_questions=metrics["num_questions"],
        steps=training.get("steps"),
        seconds=training.get("seconds"),
        verdict=str(verdict.get("verdict", "")),
        cause=str(verdict.get("cause") or ""),
        place=held.place if held else "",
        tag=own.tag if own else "",
        publication=own.url if own else "",
        is_current=bool(own and state and state.champion and state.champion.key == own.key),
        withdrawn=str(state.withdrawn.get(own.tag, {}).get("reason", "")) if own and state else "",
        evaluation=evaluation.digest,
        evaluation_path=str(evaluation.path),
        slices=metrics.get("slices", {}),
    )


def _judged(artifact: Path) -> tuple[dict[str, Any], Publication | None]:
    try:
        return read_verdict(artifact), read_publication(artifact)
    except PodsquadError:
        return {}, None


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
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
