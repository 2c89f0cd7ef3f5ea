"""The receipt: one canonical JSON from the published files back to the data, which a third party can recompute.

    published    size and SHA-256 of each file but the receipt itself, and the artifact's file that it is a copy of
    stages       per stage its key, the ingredients whose hash the key is, its digest, and the files whose hash that is
    data         source, revision and checksums of the questions
    scores, gate, hardware, seed, podsquad

The key of a version is the SHA-256 of its receipt's bytes. Equal facts give equal bytes: no time, path, host or secret
is in it. What an artifact keeps outside its digest (``record/``, ``programs/``) is not listed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from podsquad.errors import DataError, InternalError, hide_secrets
from podsquad.store.artifacts import MANIFEST_FILE, OUTSIDE_DIGEST
from podsquad.store.contents import FileDigest, is_plain_name
from podsquad.store.durable import encode_json, parse_json, parse_object

RECEIPT_FILE = "receipt.json"
CARD_FILE = "README.md"
STAGES = ("download", "tokenize", "compile", "train", "evaluate")  # those before publish, in their order
MADE_HERE = (CARD_FILE,)  # published files that are no copy of an artifact's
TRAINING_FILES = ("training.json", "record/training.json")  # of a model's artifact, one mapping in two files
_PATH = re.compile(r"(^|[\s'\"(=])~?/[\w.]")


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is no name of a file below a folder")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ListedFile(_Part):
    """A file of an artifact."""

    num_bytes: int = Field(ge=0)
    sha256: Sha256


class PublishedFile(ListedFile):
    """A published file; ``source`` is ``stage/name`` of the artifact's file that it is a copy of, else empty."""

    source: str


class IngredientsRecord(_Part):
    """What a stage's key is the hash of, as store/keys.py makes it."""

    stage: str
    format: int
    settings: dict[str, Any]
    inputs: dict[str, Sha256]
    code: dict[str, str]
    libraries: dict[str, str]


class StageRecord(_Part):
    """One stage's artifact: the key names what it was made from, the digest what came out."""

    key: Key
    digest: Sha256
    ingredients: IngredientsRecord
    files: dict[Name, ListedFile]


class Hardware(_Part):
    """What the model was trained on; an emulated IPU is a CPU and says so."""

    kind: Literal["cpu", "cuda", "ipu", "ipu emulated on cpu"]
    name: str
    threads: int | None
    processes: int


class Scores(_Part):
    """The evaluation in brief, in percent, with all digits."""

    exact_match: float
    f1: float
    num_questions: int
    evaluation_digest: str


class Receipt(_Part):
    """A receipt. Its parts belong together; whether they are true is for verify.py to find out."""

    receipt_format: Literal[1] = 1
    podsquad: str
    data: dict[str, Any]
    stages: dict[str, StageRecord]
    seed: int
    hardware: Hardware
    scores: Scores
    gate: dict[str, Any] | None
    published: dict[Name, PublishedFile]

    @model_validator(mode="after")
    def _is_whole(self) -> Receipt:
        if missing := [name for name in STAGES if name not in self.stages]:
            raise ValueError(f"the stage {missing[0]} is missing")
        if unknown := sorted(set(self.stages) - set(STAGES)):
            raise ValueError(f"there is no stage {unknown[0]!r}")
        if RECEIPT_FILE in self.published:
            raise ValueError(f"{RECEIPT_FILE} cannot list itself")
        if not any(name.endswith(".safetensors") for name in self.published):
            raise ValueError("no weights are among the published files")
        if self.gate is not None and not isinstance(self.gate.get("verdict"), str):
            raise ValueError("the gate has no verdict")
        return self


def read_stage_record(artifact: Path) -> StageRecord:
    """Return what an artifact's manifest tells; its files are taken to be verified. Raises DataError."""
    path = artifact / MANIFEST_FILE
    try:
        manifest = parse_json(path.read_bytes())
        files = {name: entry for name, entry in manifest["files"].items() if not name.startswith(OUTSIDE_DIGEST)}
        parts = {name: manifest[name] for name in ("key", "digest", "ingredients")}
        return StageRecord.model_validate(parts | {"files": files})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"cannot read {path}: {_told(error)}",
            why="the receipt tells what every artifact's manifest says",
            do="run again: it is built anew",
        ) from error


def make_receipt(
    *,
    stages: Mapping[str, StageRecord],
    origin: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    gate: Mapping[str, Any] | None,
    published: Mapping[str, FileDigest],
    version: str,
) -> Receipt:
    """Return the receipt of a publication.

    ``stages`` holds a record of each of STAGES, ``origin`` is the dataset's origin.json, ``training`` the model's
    training.json with record/training.json, ``metrics`` the evaluation's metrics.json, ``gate`` what the gate found
    (at least its ``verdict``; None where it was not asked), ``published`` all files but the receipt and the lists that
    the publishers add, ``version`` podsquad's own. Equal arguments give an equal receipt.

    Raises InternalError when a published file but the card is no copy of an artifact's file, and for a secret or an
    absolute path anywhere.
    """
    content = {
        "podsquad": version,
        "data": dict(origin),
        "stages": {name: record.model_dump() for name, record in stages.items()},
        "seed": stages["train"].ingredients.settings["training.seed"],
        "hardware": hardware_of(training),
        "scores": {name: metrics.get(name) for name in Scores.model_fields},
        "gate": None if gate is None else json.loads(json.dumps(gate)),  # tuples become lists, as they come back
        "published": {
            name: {**entry._asdict(), "source": _source_of(name, entry.sha256, stages)}
            for name, entry in published.items()
        },
    }
    try:
        receipt = Receipt.model_validate(content)
    except ValidationError as error:
        raise InternalError(
            f"no receipt can be made: {_told(error)}",
            why="a stage recorded something else than it promises",
            do="report this with the log as a defect of podsquad; nothing was published",
        ) from error
    _refuse_private(receipt)
    return receipt


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the bytes of receipt.json: equal receipts, equal bytes."""
    return encode_json(receipt.model_dump())


def version_key(receipt: bytes) -> str:
    """Return the key of the version that has this receipt: the SHA-256 of its bytes."""
    return hashlib.sha256(receipt).hexdigest()


def read_receipt(content: bytes) -> Receipt:
    """Return the receipt that ``encode_receipt`` wrote. Raises DataError that names the first thing that is wrong."""
    try:
        receipt = Receipt.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{RECEIPT_FILE} is no receipt of podsquad: {_told(error)}",
            why="it was changed, or is of another format",
            do="take it again from where the model was published",
        ) from error
    if encode_receipt(receipt) != content:
        raise DataError(
            f"{RECEIPT_FILE} is not written as podsquad writes it",
            why="a byte of it was changed, though it still tells the same",
            do="take it again from where the model was published",
        )
    return receipt


def training_record(model: Path) -> dict[str, Any]:
    """Return what a model's artifact records of its training, with times and machine; what cannot be read is left out.

    Nothing is published without the device: then ``make_receipt`` refuses.
    """
    record: dict[str, Any] = {}
    for name in TRAINING_FILES:
        with suppress(OSError, ValueError):
            record |= parse_object((model / name).read_bytes())
    return record


def hardware_of(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training ran on, as the receipt tells it: training.json with record/training.json."""
    return {
        "kind": "ipu emulated on cpu" if training.get("emulated") else str(training.get("device")),
        "name": str(training.get("device_name") or "not recorded"),
        "threads": training.get("threads"),
        "processes": training.get("processes", 1),
    }


def _source_of(name: str, sha256: str, stages: Mapping[str, StageRecord]) -> str:
    """Return which artifact's file has these bytes and this name, the latest stage's first; empty for the card."""
    same = [
        f"{stage}/{each}"
        for stage in reversed(STAGES)
        for each, entry in sorted(stages[stage].files.items())
        if entry.sha256 == sha256 and f"/{each}".endswith(f"/{name}")
    ]
    if not same and name not in MADE_HERE:
        raise InternalError(
            f"{name} is to be published and is no file of an artifact",
            why="every published file but the card must lead back to the stage that made it",
            do="report this with the log as a defect of podsquad; nothing was published",
        )
    return same[0] if same else ""


def _refuse_private(receipt: Receipt) -> None:
    for text in _texts(receipt.model_dump()):
        if _PATH.search(text) or hide_secrets(text) != text:
            shown = hide_secrets(text)
            raise InternalError(
                f"{shown!r} must not stand in a receipt: it is a path of this machine or a secret",
                why="a receipt is public, and equal models have equal receipts on every machine",
                do="report this with the log as a defect of podsquad; nothing was published",
            )


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")
