"""A night with nothing new on a store that lacks the model: the champion's receipt says what these settings would make.

The receipt holds the key of each stage, which is the hash of all that the stage's output depends on, and the digest of
what came out, from which the next stage's key follows. Where all keys are those of these settings, this code and these
libraries, running the stages would make the champion again. A store that holds the model that these settings make goes
its usual way: there the stages are reused, or mended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.errors import DataError, PodsquadError
from podsquad.evaluation.report import METRICS_FILE, read_metrics
from podsquad.publishing.places import target_of
from podsquad.publishing.receipt import Receipt, read_receipt, read_stage_record
from podsquad.publishing.target import Publication, Target
from podsquad.publishing.verdict_form import nothing_new
from podsquad.publishing.version_files import gate_seed, model_of
from podsquad.stages.run import stage_ingredients
from podsquad.store.builds import DAMAGED, STAGING
from podsquad.store.durable import encode_json
from podsquad.store.keys import key_of

_REASON = "Nothing is new: the target holds the model that these inputs make, so nothing was made here."


@dataclass(frozen=True)
class Unchanged:
    """The champion, which these settings would make again."""

    publication: Publication
    receipt: Receipt
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    """The verdict, in the form of the publish stage's."""


def find_unchanged(settings: Settings, log: Callable[[str], None]) -> Unchanged | None:
    """Return the champion if these settings would make it again and the store lacks the model; else None.

    Never raises for a target that does not answer: then the night goes its usual way.
    """
    try:
        if _has_model(settings):
            return None
        with target_of(settings.publish) as target:
            return _look(target, settings)
    except PodsquadError as error:
        log(f"whether anything is new is not known beforehand: {error.what}")
        return None


def would_make(settings: Settings, receipt: Receipt) -> bool:
    """Tell whether the stages before publish have the keys in the receipt, each following from the digests there."""
    records = {str(name): record for name, record in receipt.stages.items()}
    digests: dict[StageName, str] = {}
    for name in STAGE_NAMES[:-1]:
        if key_of(stage_ingredients(name, settings, digests)) != records[name].key:
            return False
        digests[name] = records[name].digest
    return True


def _has_model(settings: Settings) -> bool:
    """Tell whether the store holds the training that these settings make, or mends it; the target is not asked."""
    digests: dict[StageName, str] = {}
    for name in STAGE_NAMES[: STAGE_NAMES.index("train") + 1]:
        home, key = settings.store.path / name, key_of(stage_ingredients(name, settings, digests))
        path = home / key
        if not path.exists():
            # Set aside as damaged, or about to be replaced, when a run was killed: what was begun is seen to its end.
            return any(any((home / kind).glob(f"{key}[.-]*")) for kind in (DAMAGED, STAGING))
        try:
            digests[name] = read_stage_record(path).digest
        except DataError:
            return True  # damaged: the stages mend it
    return True


def _look(target: Target, settings: Settings) -> Unchanged | None:
    champion = target.state().champion
    if champion is None or champion.receipt is None:
        return None
    try:
        receipt = read_receipt(encode_json(champion.receipt))
    except DataError:
        return None
    if not would_make(settings, receipt):
        return None
    target.settle()  # else the tag that a killed publisher did not come to would be called damage
    if target.why_not_held(champion.key):
        return None
    with tempfile.TemporaryDirectory(prefix="podsquad-unchanged-") as folder:
        target.fetch(champion.tag, Path(folder), (METRICS_FILE,))
        metrics = read_metrics(Path(folder))
    model, held = model_of(champion.listing), target.describe(champion.key)
    gate = settings.gate.model_dump(include={"margin_f1", "slice_margin_f1", "resamples"}) | {
        "evaluation_digest": metrics["evaluation_digest"],
        "seed": gate_seed(model),
        "num_earlier_uses": None,  # the store need not be the one that the other nights ran on
    }
    return Unchanged(held, receipt, metrics, nothing_new(_REASON, held, model, metrics, gate))
