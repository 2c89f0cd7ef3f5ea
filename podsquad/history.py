"""What the nights came to: scores, verdicts and publications, as the store remembers them.

Artifacts tell the newest verdict on a model, and go with ``podsquad gc``; ``verdicts.jsonl`` tells every verdict, and
stays; a night that changed nothing is not told by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podsquad.config.publish_settings import PublishSettings
from podsquad.errors import PodsquadError
from podsquad.evaluation.report import SCORES
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.publishing.receipt import training_record
from podsquad.publishing.target import Publication, TargetState
from podsquad.publishing.verdicts import read_verdicts
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
    is_emulated: bool  # True: the seconds are those of an emulation, not an IPU's
    verdict: str  # empty: the gate was not asked
    cause: str  # of a rejection
    place: str  # folder or repository; empty: the gate was not asked
    tag: str  # of the version that was published, or was current already; empty: it was not published
    publication: str  # where that version is
    is_current: bool  # True: it is what users of the model get now
    withdrawn: str  # why it was rolled back; empty: it was not
    evaluation: str  # digest of the evaluation
    evaluation_path: str  # empty: its artifact is gone
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]  # as in metrics.json

    @property
    def training(self) -> str:
        """How long the training took, in words."""
        parts = [] if self.seconds is None else [f"{self.seconds:,.0f} s"]
        return " ".join([*parts, "emulated"] if self.is_emulated else parts) or "-"

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


@dataclass(frozen=True)
class _Judged:
    """A verdict, and what the target held after it."""

    when: datetime
    profile: str
    verdict: Mapping[str, Any]
    held: Publication | None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What one verdict on an evaluation is known by, however often it was found."""
        return (self.verdict.get("verdict"), self.verdict.get("cause"), self.held)

    @property
    def scores(self) -> dict[str, Any]:
        """The challenger's scores as the verdict tells them; empty where it does not."""
        challenger = self.verdict.get("challenger")
        told = challenger if isinstance(challenger, dict) else {}
        scores = {name: told.get(name) for name in SCORES}
        return scores if all(isinstance(score, int | float) for score in scores.values()) else {}


def look_at_folders(publication: Publication) -> TargetState | None:
    """Return what a folder holds; a repository on the Hub is not asked."""
    if publication.target != "folder":
        return None
    home = Path(publication.place)
    try:
        return FolderTarget(home.parent, home.name).state()
    except PodsquadError:
        return None


def look_at(settings: PublishSettings, state: TargetState | None) -> Look:
    """Return what looks at folders, and knows the settings' repository on the Hub by ``state``; None: unknown."""

    def look(publication: Publication) -> TargetState | None:
        is_ours = publication.target == "hub" and publication.place == settings.repository
        return state if is_ours else look_at_folders(publication)

    return look


def past_runs(store: Path, look: Look = look_at_folders) -> list[PastRun]:
    """Return what the store holds, the newest first; what cannot be read is left out. Nothing is verified or written.

    An evaluation that was judged for several places, or by several champions, stands once for each verdict, also
    after its artifacts are gone; the same verdict once more is told once. ``look`` is asked once for each place.
    """
    models = {found.digest: found for found in _artifacts(store, "train")}
    publications = list(_artifacts(store, "publish"))
    remembered = _remembered(store)
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
        training = training_record(model.path) if model else {}
        judged = [_judged(each) for each in publications if each.inputs.get("evaluate") == evaluation.digest]
        told = [each.identity for each in judged]
        judged += [each for each in remembered.pop(evaluation.digest, ()) if each.identity not in told]
        judged = judged or [_Judged(evaluation.when, _profile_of(evaluation), {}, None)]
        place = (evaluation.digest, str(evaluation.path))
        runs += [_past_run(place, metrics, training, each, look_once) for each in judged]
    for digest, gone in remembered.items():
        runs += [_past_run((digest, ""), each.scores, {}, each, look_once) for each in gone if each.scores]
    return sorted(runs, key=lambda run: run.when, reverse=True)


def champion_for(runs: list[PastRun], evaluation: str, settings: PublishSettings) -> PastRun | None:
    """Return the publication at the settings' target to compare an evaluation with; None: there is none.

    It is the current one, or, where that is of this very evaluation or not known, the newest one that was not
    rolled back.
    """
    place = settings.repository if settings.target == "hub" else str((settings.folder / settings.name).absolute())
    others = [run for run in runs if run.tag and run.evaluation != evaluation]
    there = [run for run in others if place in (run.place, str(Path(run.place).absolute()))]
    standing = [run for run in there if not run.withdrawn]
    return next((run for run in there if run.is_current), standing[0] if standing else None)


def _past_run(
    evaluation: tuple[str, str], metrics: dict[str, Any], training: dict[str, Any], judged: _Judged, look: Look
) -> PastRun:
    """Return an entry; ``evaluation`` is the digest of the evaluation and its folder."""
    verdict, held = judged.verdict, judged.held
    # Of a rejected one, what the target holds is another's.
    own = held if verdict.get("is_published") or verdict.get("verdict") == "unchanged" else None
    state = look(held) if held else None
    return PastRun(
        when=judged.when,
        profile=judged.profile,
        exact_match=metrics["exact_match"],
        f1=metrics["f1"],
        num_questions=metrics["num_questions"],
        steps=training.get("steps"),
        seconds=training.get("seconds"),
        is_emulated=any(record.get("emulated") for record in (metrics, verdict, training)),
        verdict=str(verdict.get("verdict", "")),
        cause=str(verdict.get("cause") or ""),
        place=held.place if held else "",
        tag=own.tag if own else "",
        publication=own.url if own else "",
        is_current=bool(own and state and state.champion and state.champion.key == own.key),
        withdrawn=str(state.withdrawn.get(own.tag, {}).get("reason", "")) if own and state else "",
        evaluation=evaluation[0],
        evaluation_path=evaluation[1],
        slices=metrics.get("slices", {}),
    )


def _judged(artifact: _Found) -> _Judged:
    verdict: dict[str, Any] = {}
    held = None
    with suppress(PodsquadError):
        verdict, held = read_verdict(artifact.path), read_publication(artifact.path)
    return _Judged(artifact.when, _profile_of(artifact), verdict, held)


def _remembered(store: Path) -> dict[str, list[_Judged]]:
    """Return the verdicts that the store remembers, each once, by digest of the evaluation."""
    found: dict[str, dict[tuple[Any, ...], _Judged]] = {}
    try:
        verdicts = read_verdicts(store)
    except PodsquadError:
        return {}
    for each in verdicts:
        with suppress(KeyError, TypeError, ValueError):
            if each["is_published"] or each["verdict"] != "unchanged":
                when, held = datetime.fromisoformat(each["at"]), Publication(**each["publication"])
                judged = _Judged(when, str(each["profile"]), each, held)
                found.setdefault(each["evaluation"], {})[judged.identity] = judged
    return {digest: list(judged.values()) for digest, judged in found.items()}


def _profile_of(artifact: _Found) -> str:
    return str(_read(artifact.path / BUILD_RECORD).get("profile", ""))


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
