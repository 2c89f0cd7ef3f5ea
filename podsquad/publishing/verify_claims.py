"""What follows from a receipt alone: its hashes recomputed, each claim followed to what it rests on.

What rests on nothing that is published is a mere statement, and is told as not checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from podsquad.data.dataset import ORIGIN_FILE
from podsquad.publishing.findings import Finding
from podsquad.publishing.receipt import CARD_FILE, Receipt, StageRecord
from podsquad.publishing.verify_gate import verify_gate
from podsquad.store.artifacts import digest_of
from podsquad.store.durable import encode_json
from podsquad.store.keys import key_of


def verify_claims(receipt: Receipt) -> list[Finding]:
    """Return a finding per claim but the scores and the hardware, which others know: metrics.json and the store."""
    return [
        *_verify_stages(receipt),
        *_verify_sources(receipt),
        _verify_data(receipt),
        _verify_seed(receipt),
        *verify_gate(receipt),
        Finding("receipt", "podsquad", "not checked", "nothing rests on it: each stage's ingredients name its code"),
    ]


def _verify_stages(receipt: Receipt) -> Iterator[Finding]:
    for name, stage in receipt.stages.items():
        fault = next(_stage_faults(name, stage, receipt), "")
        yield Finding("receipt", f"stages.{name}", "changed" if fault else "ok", fault)


def _stage_faults(name: str, stage: StageRecord, receipt: Receipt) -> Iterator[str]:
    ingredients = stage.ingredients
    if ingredients.stage != name:
        yield f"its ingredients are those of {ingredients.stage}"
    if key_of(ingredients.model_dump()) != stage.key:
        yield "its key is not the hash of its ingredients"
    if digest_of({each: entry.model_dump() for each, entry in stage.files.items()}) != stage.digest:
        yield "its digest is not the hash of its files"
    for source, digest in ingredients.inputs.items():
        record = receipt.stages.get(source)
        if record is None or record.digest != digest:
            yield f"its input {source} is not the one of this receipt"


def _verify_sources(receipt: Receipt) -> Iterator[Finding]:
    """Yield the published files that are no copy of what the receipt says; the others are told as files."""
    for name, entry in receipt.published.items():
        source, _, file = entry.source.partition("/")
        record = receipt.stages.get(source)
        made = record.files.get(file) if record else None
        if not entry.source and name == CARD_FILE:
            continue
        if made is None or (made.num_bytes, made.sha256) != (entry.num_bytes, entry.sha256):
            told = f"it is no copy of {entry.source or 'any artifact'}"
            yield Finding("receipt", f"published.{name}", "changed", told)


def _verify_data(receipt: Receipt) -> Finding:
    """Return whether the origin is the dataset's, whose origin.json is written as podsquad writes JSON."""
    content = encode_json(receipt.data)
    made = receipt.stages["download"].files.get(ORIGIN_FILE)
    if made is not None and (made.num_bytes, made.sha256) == (len(content), hashlib.sha256(content).hexdigest()):
        return Finding("receipt", "data", "ok")
    return Finding("receipt", "data", "changed", f"it is not the dataset's {ORIGIN_FILE}")


def _verify_seed(receipt: Receipt) -> Finding:
    if receipt.stages["train"].ingredients.settings.get("training.seed") == receipt.seed:
        return Finding("receipt", "seed", "ok")
    return Finding("receipt", "seed", "changed", "it is not the training's")
