"""Whether what is published is what its receipt says: recomputed from the published files alone.

Three things name a version's receipt by its SHA-256: the listing's key, the listing's entry of it, and the tag. So a
changed byte can be told from a changed claim: a receipt that none of them names is the changed one, and then the
listing says what the other files should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from podsquad.errors import DataError
from podsquad.publishing.findings import Finding
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import (
    CARD_FILE,
    RECEIPT_FILE,
    Receipt,
    Scores,
    StageRecord,
    read_receipt,
    version_key,
)
from podsquad.publishing.target import WITHDRAWN_FILE, tag_of
from podsquad.store.artifacts import digest_of
from podsquad.store.contents import FileDigest
from podsquad.store.durable import parse_json
from podsquad.store.keys import key_of

NO_PART = (WITHDRAWN_FILE, ".gitattributes")  # beside a version on the Hub: podsquad's own notes, and the Hub's
_METRICS = "metrics.json"


@dataclass(frozen=True)
class Published:
    """A version as it was found: its files' names, and a way to read them."""

    place: str
    names: frozenset[str]
    read: Callable[[str], bytes]
    """The bytes of a small file."""
    digest: Callable[[str], FileDigest]
    """Size and SHA-256 of a file; ``names`` has it."""
    tag: str = ""
    """What names the version from outside: its tag on the Hub, its folder's name; empty: nothing does."""


def verify_published(published: Published) -> tuple[Receipt | None, list[Finding]]:
    """Return the receipt, where it is the one that was published, and what was found, file by file.

    Every byte of every file is read. Without a receipt that can be believed, the files are held against the listing.
    """
    content = published.read(RECEIPT_FILE) if RECEIPT_FILE in published.names else None
    listing, listing_fault = _read_listing(published)
    receipt, receipt_fault = _believed(content, listing, published.tag)
    findings = [receipt_fault or Finding("published", RECEIPT_FILE, "ok")]
    if receipt is None or content is None:
        expected = {name: entry for name, entry in listing.files.items() if name != RECEIPT_FILE} if listing else {}
        findings.append(listing_fault or Finding("published", FILES_FILE, "ok"))
    else:
        expected = {name: FileDigest(entry.num_bytes, entry.sha256) for name, entry in receipt.published.items()}
        findings.append(listing_fault or _check_listing(published, content, expected))
    findings += _check_files(published, expected)
    if receipt is None or content is None:
        findings.append(Finding("receipt", "stages", "not checked", f"there is no {RECEIPT_FILE} to believe"))
        return None, findings
    if published.tag and published.tag != tag_of(version_key(content)):
        told = f"it holds the version {tag_of(version_key(content))}"
        findings.append(Finding("published", published.tag, "changed", told))
    findings += verify_claims(receipt)
    if not any(finding.is_fault for finding in findings):
        findings += _check_scores(receipt, published)
    return receipt, findings


def verify_claims(receipt: Receipt) -> list[Finding]:
    """Recompute from the receipt alone each stage's key and digest, and follow every input and file to its source."""
    findings = []
    for name, stage in receipt.stages.items():
        fault = next(_stage_faults(name, stage, receipt), "")
        findings.append(Finding("receipt", f"stages.{name}", "changed" if fault else "ok", fault))
    for name, entry in receipt.published.items():
        source, _, file = entry.source.partition("/")
        record = receipt.stages.get(source)
        made = record.files.get(file) if record else None
        if not entry.source and name == CARD_FILE:
            continue
        if made is None or (made.num_bytes, made.sha256) != (entry.num_bytes, entry.sha256):
            told = f"it is no copy of {entry.source or 'any artifact'}"
            findings.append(Finding("receipt", f"published.{name}", "changed", told))
    if receipt.stages["train"].ingredients.settings.get("training.seed") != receipt.seed:
        findings.append(Finding("receipt", "seed", "changed", "it is not the training's"))
    return findings


def _read_listing(published: Published) -> tuple[Listing | None, Finding | None]:
    if FILES_FILE not in published.names:
        return None, Finding("published", FILES_FILE, "missing")
    content = published.read(FILES_FILE)
    try:
        listing = Listing.parse(content)
    except ValueError as error:
        return None, Finding("published", FILES_FILE, "changed", f"it cannot be read: {error}")
    if listing.encode() != content:
        return listing, Finding("published", FILES_FILE, "changed", "it is not written as podsquad writes it")
    return listing, None


def _believed(content: bytes | None, listing: Listing | None, tag: str) -> tuple[Receipt | None, Finding | None]:
    """Return the receipt if something that names it does, or if nothing is there that could."""
    if content is None:
        return None, Finding("published", RECEIPT_FILE, "missing")
    key = version_key(content)
    names = [listing.key == key] if listing else []
    if listing and RECEIPT_FILE in listing.files:
        names.append(listing.files[RECEIPT_FILE].sha256 == key)
    if tag:
        names.append(tag == tag_of(key))
    try:
        receipt = read_receipt(content)
    except DataError as error:
        return None, Finding("published", RECEIPT_FILE, "changed", error.what)
    if names and not any(names):
        told = f"its SHA-256 is {key[:12]}..., and that is what neither {FILES_FILE} nor the version's name says"
        return None, Finding("published", RECEIPT_FILE, "changed", told)
    return receipt, None


def _check_listing(published: Published, receipt: bytes, expected: Mapping[str, FileDigest]) -> Finding:
    key = version_key(receipt)
    files = {**expected, RECEIPT_FILE: FileDigest(len(receipt), key)}
    if published.read(FILES_FILE) == Listing(key, files).encode():
        return Finding("published", FILES_FILE, "ok")
    return Finding("published", FILES_FILE, "changed", f"it lists something else than {RECEIPT_FILE} does")


def _check_files(published: Published, expected: Mapping[str, FileDigest]) -> Iterator[Finding]:
    for name, entry in sorted(expected.items()):
        if name not in published.names:
            yield Finding("published", name, "missing")
        elif (found := published.digest(name)) != entry:
            told = f"{_described(found)} instead of {_described(entry)}"
            yield Finding("published", name, "changed", told)
        else:
            yield Finding("published", name, "ok")
    for name in sorted(published.names - {*expected, RECEIPT_FILE, FILES_FILE, *NO_PART}):
        yield Finding("published", name, "extra", "it is no part of this version")


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


def _check_scores(receipt: Receipt, published: Published) -> Iterator[Finding]:
    if _METRICS not in published.names:
        return
    try:
        metrics = parse_json(published.read(_METRICS))
        differing = [name for name in Scores.model_fields if metrics.get(name) != getattr(receipt.scores, name)]
    except (ValueError, AttributeError):
        differing = list(Scores.model_fields)
    told = f"{', '.join(differing)} is not what {_METRICS} tells" if differing else ""
    yield Finding("receipt", "scores", "changed" if differing else "ok", told)


def _described(digest: FileDigest) -> str:
    return f"{digest.num_bytes:,} bytes of SHA-256 {digest.sha256[:12]}"
