"""Whether what is published is what its receipt says: recomputed from the published files alone.

Three things name a version's receipt by its SHA-256: the listing's key, the listing's entry of it, and the tag. So a
changed byte can be told from a changed claim: a receipt that none of them names is the changed one, and then the
listing says what the other files should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podsquad.errors import DataError
from podsquad.evaluation.report import METRICS_FILE
from podsquad.publishing.findings import Finding
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import RECEIPT_FILE, Receipt, Scores, read_receipt, version_key
from podsquad.publishing.target import tag_of
from podsquad.publishing.verify_claims import verify_claims
from podsquad.store.contents import FileDigest
from podsquad.store.durable import parse_json


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
    beside: frozenset[str] = frozenset()
    """Names that may be there and are no part of a version."""


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
        findings.append(Finding("receipt", "all claims", "not checked", f"there is no {RECEIPT_FILE} to believe"))
        return None, findings
    if published.tag and published.tag != tag_of(version_key(content)):
        told = f"it holds the version {tag_of(version_key(content))}"
        findings.append(Finding("published", published.tag, "changed", told))
    findings += verify_claims(receipt)
    findings.append(_check_scores(receipt, published, findings))
    return receipt, findings


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
    for name in sorted(published.names - {*expected, RECEIPT_FILE, FILES_FILE, *published.beside}):
        yield Finding("published", name, "extra", "it is no part of this version")


def _check_scores(receipt: Receipt, published: Published, findings: Sequence[Finding]) -> Finding:
    if Finding("published", METRICS_FILE, "ok") not in findings:
        return Finding("receipt", "scores", "not checked", f"there is no {METRICS_FILE} to believe")
    try:
        metrics = parse_json(published.read(METRICS_FILE))
        differing = [name for name in Scores.model_fields if metrics.get(name) != getattr(receipt.scores, name)]
    except (ValueError, AttributeError):
        differing = list(Scores.model_fields)
    told = f"{', '.join(differing)} is not what {METRICS_FILE} tells" if differing else ""
    return Finding("receipt", "scores", "changed" if differing else "ok", told)


def _described(digest: FileDigest) -> str:
    return f"{digest.num_bytes:,} bytes of SHA-256 {digest.sha256[:12]}"
