"""``podsquad gc``: remove from the store what nothing needs any more."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError
from podsquad.publishing.places import target_at
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.stages.catalog import STAGES
from podsquad.store.retention import Garbage, find_garbage, remove_garbage
from podsquad.terminal import print_json, print_table

_DAY_SECONDS = 86_400.0


def collect(settings: Settings, *, keep: int, days: float, dry_run: bool, as_json: bool) -> None:
    """Remove what may go, and say what it was. Raises StoreError."""
    found = find_garbage(
        settings.store.path,
        keep=keep,
        older_than_seconds=days * _DAY_SECONDS,
        now=time.time(),
        is_protected=_is_published,
    )
    gone = [each for each in found if dry_run or remove_garbage(each)]
    if as_json:
        removed = [{**asdict(each), "path": str(each.path)} for each in gone]
        print_json({"dry_run": dry_run, "bytes": sum(each.num_bytes for each in gone), "removed": removed})
        return
    _show(settings.store.path, gone, len(found) - len(gone), dry_run)


def _show(store: Path, gone: list[Garbage], num_busy: int, dry_run: bool) -> None:
    if gone:
        rows = [
            (each.kind, str(each.path.relative_to(store)), f"{each.num_bytes / 2**20:,.1f} MiB",
             f"{each.age_seconds / _DAY_SECONDS:,.0f} days")
            for each in gone
        ]  # fmt: skip
        print_table(("what", "path", "size", "age"), rows, right=("size", "age"))
        print()
    for each in gone:
        if each.leads_to:
            print(f"{each.path.relative_to(store)} is a link; what it leads to stays: {each.leads_to}")
    total = sum(each.num_bytes for each in gone) / 2**20
    print(f"{'would remove' if dry_run else 'removed'} {len(gone)}, {total:,.1f} MiB, of {store}")
    if num_busy:
        print(f"left {num_busy} whose key is being built just now")


def _is_published(artifact: Path) -> bool:
    """Tell whether an artifact records what the target holds now; what cannot be asked counts as published."""
    if artifact.parent.name != "publish":
        return False
    try:
        if STAGES["publish"].why_stale(artifact):
            return _may_be_hidden(artifact)
        verdict = read_verdict(artifact)
        return bool(verdict["is_published"]) or verdict["verdict"] == "unchanged"  # else the champion is another model
    except (PodsquadError, OSError, ValueError, KeyError):
        return True


def _may_be_hidden(artifact: Path) -> bool:
    """Tell whether it was published to a repository of the Hub that is not seen: a token may see less than another."""
    publication = read_publication(artifact)
    if publication.target == "folder":
        return False
    with target_at(publication) as target:
        return not target.state().exists
