"""Whether the artifacts in a store are those that a receipt names, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from podsquad.publishing.findings import Finding
from podsquad.publishing.listing import read_digest
from podsquad.publishing.receipt import TRAINING_FILES, Receipt, StageRecord, hardware_of
from podsquad.store.artifacts import MANIFEST_FILE, MANIFEST_FORMAT, OUTSIDE_DIGEST
from podsquad.store.durable import encode_json, parse_json, parse_object


def verify_store(receipt: Receipt, store: Path) -> Iterator[Finding]:
    """Yield a finding per file of each artifact; every byte is read anew. A file is named ``stage/key/file``.

    What an artifact keeps outside its digest is held against its manifest, all else against the receipt, and the
    manifest against both. The last finding is the receipt's hardware, held against what the training recorded.
    Raises OSError as the system does.
    """
    sound: set[str] = set()
    for name, stage in receipt.stages.items():
        folder = store / name / stage.key
        if not folder.is_dir():
            yield Finding("store", f"{name}/{stage.key}", "missing", "this store does not hold the artifact")
            continue
        for finding in _verify_artifact(name, stage, folder):
            sound |= {f"{name}/{finding.name}"} if finding.state == "ok" else set()
            yield Finding("store", f"{name}/{stage.key}/{finding.name}", finding.state, finding.told)
    yield _verify_hardware(receipt, store, sound)


def list_all(folder: Path) -> Iterator[str]:
    """Yield the names of everything below a folder but its folders; a link to a folder is one, and not entered."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _verify_artifact(stage: str, record: StageRecord, folder: Path) -> Iterator[Finding]:
    outside, manifest_fault = _read_outside(stage, record, folder)
    yield manifest_fault or Finding("store", MANIFEST_FILE, "ok")
    expected = {name: entry.model_dump() for name, entry in record.files.items()} | outside
    present = set(list_all(folder))
    for name, entry in sorted(expected.items()):
        if name not in present:
            yield Finding("store", name, "missing", f"its {MANIFEST_FILE} names it" if name in outside else "")
        elif not (folder / name).is_file() or read_digest(folder / name)._asdict() != entry:
            source = f"its {MANIFEST_FILE}" if name in outside else "the receipt"
            yield Finding("store", name, "changed", f"its bytes are not those that {source} names")
        else:
            yield Finding("store", name, "ok")
    for name in sorted(present - {*expected, MANIFEST_FILE}):
        if manifest_fault and name.startswith(OUTSIDE_DIGEST):
            yield Finding("store", name, "not checked", f"only its {MANIFEST_FILE} knows it")
        else:
            knower = f"its {MANIFEST_FILE}" if name.startswith(OUTSIDE_DIGEST) else "the receipt"
            yield Finding("store", name, "extra", f"{knower} does not name it")


def _verify_hardware(receipt: Receipt, store: Path, sound: Set[str]) -> Finding:
    """Return whether the training recorded this hardware; ``sound`` names the files that are as they were."""
    folder, training = store / "train" / receipt.stages["train"].key, dict[str, Any]()
    for name in TRAINING_FILES:
        if f"train/{name}" not in sound:
            return Finding("receipt", "hardware", "not checked", f"there is no {name} of the training to believe")
        try:
            training |= parse_object((folder / name).read_bytes())
        except ValueError as error:
            return Finding("receipt", "hardware", "changed", f"{name} of the training cannot be read: {error}")
    told = hardware_of(training)
    differing = [name for name, value in receipt.hardware.model_dump().items() if told[name] != value]
    if differing:
        why = ", ".join(f"{name} was {told[name]!r}" for name in differing)
        return Finding("receipt", "hardware", "changed", f"the training recorded something else: {why}")
    return Finding("receipt", "hardware", "ok")


def _read_outside(stage: str, record: StageRecord, folder: Path) -> tuple[dict[str, object], Finding | None]:
    """Return the manifest's entries of what is outside the digest, and what is wrong with the manifest itself."""
    try:
        content = (folder / MANIFEST_FILE).read_bytes()
        files = parse_json(content)["files"]
        outside = {name: entry for name, entry in files.items() if name.startswith(OUTSIDE_DIGEST)}
    except FileNotFoundError:
        return {}, Finding("store", MANIFEST_FILE, "missing")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, Finding("store", MANIFEST_FILE, "changed", f"it cannot be read: {type(error).__name__}")
    manifest = {
        "manifest_format": MANIFEST_FORMAT,
        "stage": stage,
        "key": record.key,
        "ingredients": record.ingredients.model_dump(),
        "files": {name: entry.model_dump() for name, entry in record.files.items()} | outside,
        "digest": record.digest,
    }
    if encode_json(manifest) != content:
        return outside, Finding("store", MANIFEST_FILE, "changed", "it tells something else than the receipt does")
    return outside, None
