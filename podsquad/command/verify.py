"""``podsquad verify``: what is published is held against its receipt, and on request against store and data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from podsquad.errors import InputMissingError, from_os_error
from podsquad.publishing.findings import Finding, Verification
from podsquad.publishing.receipt import RECEIPT_FILE, version_key
from podsquad.publishing.verify import Published, verify_published
from podsquad.publishing.verify_data import verify_data
from podsquad.publishing.verify_source import open_version
from podsquad.publishing.verify_store import verify_store
from podsquad.terminal import print_json, print_table

_KINDS = {
    "published": ("published file", "published files"),
    "receipt": ("claim of the receipt", "claims of the receipt"),
    "store": ("file of the store", "files of the store"),
    "data": ("claim about the data", "claims about the data"),
}
_HARDWARE = Finding("receipt", "hardware", "not checked", "the training's records in the store tell: --store STORE")


def run_verification(where: str, store: Path | None, data: Sequence[str], *, as_json: bool) -> int:
    """Verify, print what was found, and return the exit code: 0, or 1 when something is not as the receipt says.

    Raises what opening and reading raise.
    """
    if store is not None and not store.is_dir():
        raise InputMissingError(
            f"there is no store at {store}",
            why="the claims that reach further than the published files are checked in it",
            do="check --store",
        )
    with tempfile.TemporaryDirectory(prefix="podsquad-verify-") as scratch:
        verification = verify(open_version(where, Path(scratch) / "files"), store, data)
    if as_json:
        print_json(verification.to_json())
    else:
        _print(verification)
    return 0 if verification.is_whole else 1


def verify(published: Published, store: Path | None = None, data: Sequence[str] = ()) -> Verification:
    """Return everything that was found. ``store`` and ``data`` need a receipt that can be believed."""
    receipt, findings = verify_published(published)
    version = version_key(published.read(RECEIPT_FILE)) if RECEIPT_FILE in published.names else ""
    if receipt is None:
        asked: list[Finding] = []
        asked += [Finding("store", str(store), "not checked", "there is no receipt to believe")] if store else []
        asked += [Finding("data", name, "not checked", "there is no receipt to believe") for name in data]
        return Verification(published.place, version, (*findings, *asked))
    try:
        findings += verify_store(receipt, store) if store else [_HARDWARE]
    except OSError as error:
        raise from_os_error(error, "reading the store", "--store STORE") from error
    findings += verify_data(receipt, published, data) if data else []
    return Verification(published.place, version, tuple(findings))


def _print(verification: Verification) -> None:
    told = [each for each in verification.findings if each.state != "ok"]
    if told:
        print_table(("where", "what", "", "why"), [(each.where, each.name, each.state, each.told) for each in told])
        print()
    checked = [each for each in verification.findings if each.state != "not checked"]
    counts = {where: sum(each.where == where for each in checked) for where in _KINDS}
    looked_at = ", ".join(f"{count:,} {_KINDS[where][count > 1]}" for where, count in counts.items() if count)
    if unchecked := len(verification.findings) - len(checked):
        looked_at += f"; {unchecked:,} not checked"
    verdict = "as its receipt says" if verification.is_whole else f"{len(verification.faults)} NOT as its receipt says"
    print(f"{verification.place}: {verdict} ({looked_at})")
    print(f"version {verification.version or 'unknown: there is no receipt'}")
