"""The verdicts that a store remembers: added durably, never lost to a line that was cut short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podsquad.errors import StoreError
from podsquad.publishing.verdicts import VERDICTS_FILE, read_verdicts, remember_verdict
from podsquad.store.retention import find_garbage


def test_verdicts_are_read_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert read_verdicts(store) == []
    for number in range(3):
        remember_verdict(store, {"number": number, "reason": "F1 fell\n."})
    assert [each["number"] for each in read_verdicts(store)] == [0, 1, 2]


def test_a_verdict_is_on_the_disk_when_it_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append(Path(f"/proc/self/fd/{handle}").resolve().name.encode())
    )
    remember_verdict(tmp_path, {"verdict": "first"})
    assert flushed == [VERDICTS_FILE.encode(), tmp_path.name.encode()]


@pytest.mark.parametrize("torn", [b"{", b'{"verdict": "rejected", "x', b"[]\n", b"\xff\n"], ids=repr)
def test_a_line_that_was_cut_short_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    remember_verdict(tmp_path, {"verdict": "first"})
    with (tmp_path / VERDICTS_FILE).open("ab") as file:
        file.write(torn)
    remember_verdict(tmp_path, {"verdict": "promoted"})
    assert [each["verdict"] for each in read_verdicts(tmp_path)] == ["first", "promoted"]


def test_the_garbage_collector_does_not_see_them(tmp_path: Path) -> None:
    remember_verdict(tmp_path, {"verdict": "first"})
    assert find_garbage(tmp_path, keep=1, older_than_seconds=-1, now=1e12, is_protected=lambda path: False) == []


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / VERDICTS_FILE).mkdir()
    with pytest.raises(StoreError, match="verdicts"):
        remember_verdict(tmp_path, {})
    with pytest.raises(StoreError, match="verdicts"):
        read_verdicts(tmp_path)
