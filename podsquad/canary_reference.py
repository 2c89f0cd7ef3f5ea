"""What a canary must reproduce: the champion, or else the store's newest model that the same settings made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.config.settings import Settings
from podsquad.errors import DataError, InputMissingError, PodsquadError
from podsquad.publishing.places import target_of
from podsquad.publishing.receipt import (
    STAGES,
    Receipt,
    StageRecord,
    hardware_of,
    read_receipt,
    read_stage_record,
    training_record,
)
from podsquad.stages.resolved import key_settings
from podsquad.store.artifacts import MANIFEST_FILE
from podsquad.store.durable import canonical_json, encode_json, parse_lines

HISTORY_FILE = "history.jsonl"
# Where it ran is no part of what was asked for: a canary on another device is to tell that it is another.
_OF_THE_PLACE = "runtime."


@dataclass(frozen=True)
class Reference:
    """A model to reproduce; ``stages`` are its records by stage."""

    told: str
    """What it is, for people."""
    stages: Mapping[str, StageRecord]
    hardware: Mapping[str, Any]
    """As in a receipt."""
    history: tuple[Mapping[str, Any], ...] | None
    """Its steps; None where the store does not hold them."""
    ledger: str | None
    """The running hash of the questions it consumed."""


def find_reference(settings: Settings, log: Callable[[str], None]) -> Reference:
    """Return the model that these settings must give again.

    A champion that other settings made is passed over, as is one that cannot be asked for; the log says so. Raises
    InputMissingError when there is neither, StoreError when the store cannot be read.
    """
    store = settings.store.path.absolute()
    asked = {stage: _shaping(key_settings(settings, stage)) for stage in STAGES}
    if (receipt := _champion(settings, log)) is not None:
        if _settings_of(receipt.stages) == asked:
            return _of_stages("the champion", receipt.stages, receipt.hardware.model_dump(), store)
        log("the champion was made by other settings: the store's newest model of these settings is taken instead")
    for stages in _models(store):
        if _settings_of(stages) == asked:
            path = store / "train" / stages["train"].key
            return _of_stages("the store's newest model", stages, hardware_of(training_record(path)), store)
    raise InputMissingError(
        "there is no model to reproduce",
        why="neither the target nor the store holds one that was made by these settings",
        do="run the same without --canary first",
    )


def read_history(model: Path) -> tuple[Mapping[str, Any], ...] | None:
    """Return the steps of a model's artifact; None where they cannot be read."""
    try:
        return tuple(parse_lines((model / HISTORY_FILE).read_bytes()))
    except (OSError, ValueError):
        return None


def _champion(settings: Settings, log: Callable[[str], None]) -> Receipt | None:
    try:
        with target_of(settings.publish, log) as target:
            champion = target.state().champion
        return read_receipt(encode_json(champion.receipt)) if champion and champion.receipt else None
    except PodsquadError as error:
        log(f"the champion cannot be looked at: {error.what}")
        return None


def _models(store: Path) -> Iterator[dict[str, StageRecord]]:
    """Yield the stages behind each evaluation of the store, the newest first; what cannot be read is passed over."""
    # Of several with one digest the newest is taken.
    known = {stage: {record.digest: record for record in reversed(_records(store, stage))} for stage in STAGES}
    for evaluation in _records(store, "evaluate"):
        stages: dict[str, StageRecord] = {"evaluate": evaluation}
        try:
            for stage in ("train", "tokenize", "download"):
                stages[stage] = known[stage][evaluation.ingredients.inputs[stage]]
            stages["compile"] = known["compile"][stages["train"].ingredients.inputs["compile"]]
        except KeyError:
            continue
        yield stages


def _records(store: Path, stage: str) -> list[StageRecord]:
    """Return what the manifests of a stage tell, the newest first."""
    found = []
    for path in (store / stage).glob(f"[!.]*/{MANIFEST_FILE}"):
        try:
            found.append((path.stat().st_mtime_ns, read_stage_record(path.parent)))
        except (OSError, DataError):
            continue  # whoever looks its key up is told
    return [record for _, record in sorted(found, key=lambda pair: -pair[0])]


def _of_stages(what: str, stages: Mapping[str, StageRecord], hardware: Mapping[str, Any], store: Path) -> Reference:
    key = stages["train"].key
    path = store / "train" / key
    return Reference(
        told=f"{what} (train {key[:12]})",
        stages=dict(stages),
        hardware=hardware,
        history=read_history(path),
        ledger=training_record(path).get("ledger"),
    )


def _settings_of(stages: Mapping[str, StageRecord]) -> dict[str, str]:
    return {stage: _shaping(stages[stage].ingredients.settings) for stage in STAGES}


def _shaping(settings: Mapping[str, Any]) -> str:
    return canonical_json({name: value for name, value in settings.items() if not name.startswith(_OF_THE_PLACE)})
