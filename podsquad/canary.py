"""The canary: the same training once more, in a store of its own, must come out the same, byte for byte.

Where it does not, that is drift: the world around the training changed, and the report says in what. Nothing is
published.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from podsquad.canary_reference import Reference, read_history
from podsquad.errors import TemporaryError, from_os_error
from podsquad.publishing.receipt import STAGES, StageRecord, hardware_of, read_stage_record, training_record
from podsquad.reporting import marked
from podsquad.store.keys import differences

SCRATCH = ".canary"  # inside the store, so on a disk that is meant to hold models
_NAMED = 4  # files that a sentence names
_MODEL = "model/"


@dataclass(frozen=True)
class StageComparison:
    """One stage of the two: its digest then and now."""

    stage: str
    is_same: bool
    expected_digest: str
    digest: str
    differences: tuple[str, ...]
    """What differs among its ingredients, in words."""
    files: tuple[str, ...]
    """Names of the files that differ."""


@dataclass(frozen=True)
class Divergence:
    """The first step at which the two trainings tell something else; a value is None where that one had ended."""

    step: int
    num_steps: int
    expected_loss: float | None
    loss: float | None


@dataclass(frozen=True)
class CanaryReport:
    """What a canary came to."""

    verdict: Literal["reproduced", "drifted"]
    summary: str
    reference: str
    emulated: bool
    """The IPUs of this training were an emulation: no time of it is an IPU's."""
    weights_are_equal: bool
    stages: tuple[StageComparison, ...]
    hardware: tuple[str, ...]
    """What differs in hardware, in words."""
    order_is_equal: bool | None
    """Whether both consumed the same questions in the same order; None where that is not known."""
    diverged: Divergence | None
    """None: every step is the same, or the steps of the reference are gone."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@contextmanager
def scratch_store(store: Path, *, keep: bool) -> Iterator[Path]:
    """Yield an empty folder for a canary's artifacts, inside the store; it is removed afterwards unless ``keep``.

    What an earlier canary left there is removed first. Raises TemporaryError when another one is under way, StoreError
    when the store cannot be written.
    """
    home = store.absolute()
    scratch, lock = home / SCRATCH, FileLock(home / f"{SCRATCH}.lock")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
    except Timeout as error:
        raise TemporaryError(
            f"another canary is under way in {home}",
            why="two at once would share one scratch store",
            do="run the same again when it is done",
        ) from error
    except OSError as error:
        lock.release()
        raise from_os_error(error, "making the canary's store") from error
    try:
        yield scratch
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def compare(reference: Reference, made: Mapping[str, Path]) -> CanaryReport:
    """Hold a canary's artifacts (their folders by stage) against the reference. Raises DataError for a broken one."""
    records = {stage: read_stage_record(made[stage]) for stage in STAGES}
    stages = tuple(_compare_stage(stage, reference.stages[stage], records[stage]) for stage in STAGES)
    training = training_record(made["train"])
    hardware = hardware_of(training)
    changed = tuple(
        f"{name} {_shown(value)} -> {_shown(hardware.get(name))}"
        for name, value in reference.hardware.items()
        if hardware.get(name) != value
    )
    diverged = _first_divergence(reference.history, read_history(made["train"]))
    model = next(each for each in stages if each.stage == "train")
    weights_are_equal = not any(name.startswith(_MODEL) for name in model.files)
    is_reproduced = all(each.is_same for each in stages)
    order_is_equal = None if reference.ledger is None else training.get("ledger") == reference.ledger
    report = CanaryReport(
        verdict="reproduced" if is_reproduced else "drifted",
        summary="",
        reference=reference.told,
        emulated=bool(training.get("emulated")),
        weights_are_equal=weights_are_equal,
        stages=stages,
        hardware=changed,
        order_is_equal=order_is_equal,
        diverged=diverged,
    )
    summary = marked("emulated" if report.emulated else "", _summary(report, reference))
    return CanaryReport(**vars(report) | {"summary": summary})


def _compare_stage(stage: str, expected: StageRecord, found: StageRecord) -> StageComparison:
    names = {*expected.files, *found.files}
    return StageComparison(
        stage=stage,
        is_same=expected.digest == found.digest,
        expected_digest=expected.digest,
        digest=found.digest,
        differences=tuple(differences(expected.ingredients.model_dump(), found.ingredients.model_dump())),
        files=tuple(sorted(name for name in names if expected.files.get(name) != found.files.get(name))),
    )


def _first_divergence(
    expected: tuple[Mapping[str, Any], ...] | None, found: tuple[Mapping[str, Any], ...] | None
) -> Divergence | None:
    if expected is None or found is None:
        return None
    for place in range(max(len(expected), len(found))):
        before, after = (each[place] if place < len(each) else {} for each in (expected, found))
        if before != after:
            step = int(before.get("step", after.get("step", place + 1)))
            return Divergence(step, max(len(expected), len(found)), before.get("loss"), after.get("loss"))
    return None


def _summary(report: CanaryReport, reference: Reference) -> str:
    if report.verdict == "reproduced":
        return f"Reproduced: all five artifacts are those of {report.reference}, byte for byte."
    parts = [f"Drifted from {report.reference}"]
    first = next(each for each in report.stages if not each.is_same)
    files = ", ".join(first.files[:_NAMED]) + (f" and {len(first.files) - _NAMED} more" * (len(first.files) > _NAMED))
    parts.append(f"the first stage that differs is {first.stage} ({files})")
    if report.diverged:
        at = report.diverged
        losses = f"loss {_shown(at.expected_loss)} -> {_shown(at.loss)}"
        parts.append(f"the first step that differs is {at.step} of {at.num_steps} ({losses})")
    elif reference.history is None:
        parts.append("the steps of the reference are not in this store, so the first that differs cannot be told")
    else:
        parts.append("the loss is the same at every step")
    if report.order_is_equal is False:
        parts.append("the questions came in another order")
    parts.append("the weights are " + ("the same" if report.weights_are_equal else "others"))
    causes = [cause for each in report.stages for cause in each.differences if not cause.startswith("input ")]
    causes = [*dict.fromkeys(causes), *(f"hardware {each}" for each in report.hardware)]
    parts.append("what changed: " + ("; ".join(causes) or "nothing that is recorded"))
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
