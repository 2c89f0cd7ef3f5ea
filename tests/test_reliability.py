"""docs/reliability.md names a test for each claim, and each of those tests is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")]


def test_every_claim_in_a_table_names_a_test() -> None:
    no_claim = r"\| (claim|fault|drill|kill|full-disk|hub-500|truncate-checkpoint|stale-lease) \|"
    claims = [row for row in ROWS if not re.match(no_claim, row)]
    assert len(claims) > 30
    assert [row for row in claims if "::test_" not in row] == []


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda value: str(value).rpartition("/")[2])
def test_the_test_that_proves_a_claim_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_scope_stands_first() -> None:
    beginning = " ".join(PAGE.split()[:120])
    for words in ("processes that die", "not about power", "one kind of device", "constraints.txt"):
        assert words in beginning
