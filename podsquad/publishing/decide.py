"""What the gate is asked, and with what: the champion as the target holds it, and the challenger.

The champion's scores come from its own published files. Where it answered other questions than the challenger, it is
scored again on the challenger's, if its weights can be had and run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.config.publish_settings import GateSettings
from podsquad.errors import DataError, InputMissingError, PodsquadError, StoreError
from podsquad.evaluation.gate import Contender, GateResult, count_uses, judge
from podsquad.evaluation.report import METRICS_FILE, SCORES, read_metrics
from podsquad.evaluation.scored import QUESTIONS_FILE, ScoredQuestions, read_scored_questions
from podsquad.publishing.target import Champion, Target, TargetState, refuse_lost
from podsquad.publishing.version_files import gate_seed, model_of

VERDICT_FILE = "verdict.json"
_SCORES = (*SCORES, "slices")
_KEPT = "The champion stays: nothing is proven about the challenger (gate.incomparable is keep)."
_PUBLISHED = "The challenger is published all the same (gate.incomparable is publish)."


@dataclass(frozen=True)
class Rescored:
    """A champion's scores on the challenger's questions."""

    metrics: Mapping[str, Any]
    questions: ScoredQuestions


Rescore = Callable[[Path], Rescored]
"""Scores a model on the challenger's questions; its published files lie in the folder's ``model``, as in a model's
artifact. Raises a PodsquadError."""


@dataclass(frozen=True)
class Challenger:
    """The model that asks to be published."""

    model_digest: str
    evaluation: Path
    """The folder of its evaluation."""
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """The gate's verdict, and what follows from it."""

    result: GateResult
    champion: Mapping[str, Any] | None
    """Tag, key and scores of the champion, and whether it was scored again for this; None: there is none."""
    publishes_anyway: bool = False
    """Whether the challenger is published where nothing could be compared."""

    @property
    def policy(self) -> str:
        """What follows where nothing could be compared, in a sentence; empty where something was."""
        if self.result.verdict != "incomparable":
            return ""
        return _PUBLISHED if self.publishes_anyway else _KEPT

    @property
    def publishes(self) -> bool:
        """Whether the challenger is to be published."""
        return self.result.passes or self.publishes_anyway


def decide(
    challenger: Challenger,
    target: Target,
    state: TargetState,
    settings: GateSettings,
    *,
    rescore: Rescore,
    earlier: Iterable[Mapping[str, Any]],
    work: Path,
    log: Callable[[str], None],
) -> Decision:
    """Judge the challenger against what the target holds; nothing is published.

    ``earlier`` are the records of former verdicts (GateResult.to_json()), ``work`` is a folder for downloads. Equal
    worlds give an equal decision: the seed is the challenger's digest. Raises what reading the target raises, what
    ``rescore`` raises where the same again may succeed, and StoreError where the champion is damaged: nobody is then
    the first.
    """
    refuse_lost(target, state)
    evaluation = str(challenger.metrics["evaluation_digest"])
    contender, told = _contender(challenger, target, state.champion, rescore, work, log)
    result = judge(
        Contender(challenger.model_digest, evaluation, read_scored_questions(challenger.evaluation)),
        contender,
        settings,
        seed=gate_seed(challenger.model_digest),
        num_earlier_uses=count_uses(evaluation, (each for each in earlier if _is_other(each, challenger.model_digest))),
        withdrawn=_why_withdrawn(challenger.model_digest, target, state, work),
    )
    return Decision(result, told, result.verdict == "incomparable" and settings.incomparable == "publish")


def _contender(
    challenger: Challenger,
    target: Target,
    champion: Champion | None,
    rescore: Rescore,
    work: Path,
    log: Callable[[str], None],
) -> tuple[Contender | None, dict[str, Any] | None]:
    """Return the champion as the gate takes it, scored again where need be, and what is told of it."""
    if champion is None:
        return None, None
    digest = model_of(champion.listing)
    found, again = _scores_of(champion, target, work, log), None
    evaluation = challenger.metrics["evaluation_digest"]
    if digest != challenger.model_digest and (found is None or found.metrics.get("evaluation_digest") != evaluation):
        log(f"the champion {champion.tag} was not scored on these questions: it is scored again")
        again = _score_again(champion, target, rescore, work, log)
    known = again or found
    scores = {name: known.metrics.get(name) for name in _SCORES} if known else {}
    told = {"tag": champion.tag, "key": champion.key, "is_rescored": again is not None} | scores
    theirs = evaluation if again or found is None else found.metrics.get("evaluation_digest")
    return Contender(digest, str(theirs), known.questions if known else None), told


def _is_other(record: Mapping[str, Any], digest: str) -> bool:
    """Tell whether a record is of another challenger that was compared with a champion."""
    return record.get("challenger_digest") != digest and record.get("overall") is not None


def _scores_of(champion: Champion, target: Target, work: Path, log: Callable[[str], None]) -> Rescored | None:
    """Return the scores that the champion was published with; None where it has none that can be read."""
    folder = work / "champion-scores"
    try:
        target.fetch(champion.tag, folder, (METRICS_FILE, QUESTIONS_FILE))
        return Rescored(read_metrics(folder), read_scored_questions(folder))
    except (InputMissingError, DataError, StoreError) as error:
        log(f"the champion {champion.tag} has no scores that can be read: {error.what}")
        return None


def _score_again(
    champion: Champion, target: Target, rescore: Rescore, work: Path, log: Callable[[str], None]
) -> Rescored | None:
    folder = work / "champion"
    try:
        target.fetch(champion.tag, folder / "model")
        return rescore(folder)
    except PodsquadError as error:
        if error.heals:
            raise
        log(f"the champion {champion.tag} cannot be scored again: {error.what}")
        return None


def _why_withdrawn(digest: str, target: Target, state: TargetState, work: Path) -> str:
    """Return the reason for which a version with this very model was rolled back; empty: none was."""
    for tag, entry in state.withdrawn.items():
        model = entry.get("model")
        if not model:  # the version could not be read when it was withdrawn
            try:
                model = model_of(target.fetch(tag, work / "withdrawn", ()))
            except (InputMissingError, DataError, StoreError):
                continue  # removed or damaged by hand: its model is not known; its version is refused all the same
        if model == digest:
            return str(entry.get("reason") or "no reason is recorded")
    return ""
