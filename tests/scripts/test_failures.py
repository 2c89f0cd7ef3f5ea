"""docs/failures.md is as the code is: every error that is raised, with its remedy and exit code."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from podsquad.errors import all_errors

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "failures.py"

MODULE = """
def work(path):
    raise DataError(f"cannot read {path}: {why_it_is_so_and_no_other_way_however_long()}", do="a" if path else "b")

def old(path):
    raise InternalError("no {} in {!r}".format(path, 3), why=path.name or "none")

def other(path):
    raise ValueError("is nobody's")
"""


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("failures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "failures", module)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_as_the_code_is(failures: ModuleType) -> None:
    assert failures.PAGE.read_text(encoding="utf-8") == failures.page(), "write it again: python scripts/failures.py"


def test_every_error_says_what_why_and_what_to_do(failures: ModuleType) -> None:
    assert failures.incomplete() == []


def test_an_error_that_does_not_say_why_or_what_to_do_is_found(failures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "podsquad").mkdir()
    whole = 'def whole(path):\n    raise DataError("no", why="it is gone", do="look")\n'
    empty = 'def empty(path):\n    raise StoreError("no", why="", do="look")\n'
    (tmp_path / "podsquad/made_up.py").write_text(MODULE + whole + empty)
    assert failures.incomplete(tmp_path) == [f"podsquad/made_up.py: {name}" for name in ("work", "old", "empty")]


def test_every_error_has_its_row(failures: ModuleType) -> None:
    page = failures.page()
    for kind in all_errors():
        if kind.__module__ == "podsquad.errors" and kind.__name__ != "PodsquadError":
            assert f"| [{kind.__name__}](#{kind.__name__.lower()}) | {kind.remedy} | {kind.exit_code} |" in page


def test_a_message_is_told_with_its_expressions(failures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "podsquad").mkdir()
    (tmp_path / "podsquad/made_up.py").write_text(MODULE)
    assert [
        (site.kind, site.where, site.parts) for site in failures.set_of_sites(tmp_path, {"DataError", "InternalError"})
    ] == [
        ("DataError", "podsquad/made_up.py: work", {"what": "cannot read {path}: {…}", "do": "a [or] b"}),
        ("InternalError", "podsquad/made_up.py: old", {"what": "no {path} in {3}", "why": "{path.name} [or] none"}),
    ]
