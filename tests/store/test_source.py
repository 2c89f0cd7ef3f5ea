"""The source of a stage: imports are followed in every form in which they are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podsquad.store import source
from podsquad.store.source import CARRIERS, code_digests, function_digest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand a made-up podsquad in the place of the real one."""
    monkeypatch.setattr(source, "_home", lambda: tmp_path)
    source._read.cache_clear()
    write(tmp_path, __init__="__version__ = '1'\n", a="A = 1\n", b="B = 1\n", errors="E = 1\n")
    write(tmp_path / "room", __init__="", c="C = 1\n", d="from podsquad.a import A\n")
    yield tmp_path
    source._read.cache_clear()


def write(folder: Path, **modules: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("from podsquad.a import A", {"a"}, id="from-module"),
        pytest.param("from podsquad import a, b", {"a", "b", ""}, id="from-package"),
        pytest.param("from podsquad.room import c as d", {"room.c"}, id="renamed"),
        pytest.param(
            "from podsquad.room import (\n    c,  # why\n    d as e,\n)", {"room.c", "room.d", "a"}, id="lines"
        ),
        pytest.param("import podsquad.room.c", {"room.c"}, id="plain"),
        pytest.param("import podsquad.room.c as c", {"room.c"}, id="plain-renamed"),
        pytest.param("def f():\n    from podsquad.a import A\n", {"a"}, id="inside-a-function"),
        pytest.param("def f():\n\tfrom podsquad.a import A\n", {"a"}, id="tab"),
        pytest.param("from podsquad.a import A  # from podsquad.b import B", {"a"}, id="comment"),
        pytest.param("from podsquad.room import d", {"room.d", "a"}, id="indirect"),
        pytest.param("import os\nfrom json import loads\nimport podsquadron", set(), id="others"),
        pytest.param("from podsquad.errors import E", set(), id="carrier"),
        pytest.param("Text = 'é'\nfrom podsquad.a import A\n", {"a"}, id="utf-8"),
    ],
)
def test_imports_are_found_however_they_are_written(text: str, found: set[str], home: Path) -> None:
    write(home, root=text)
    expected = {"podsquad.root", *(f"podsquad.{name}".rstrip(".") for name in found)}
    assert set(code_digests(["podsquad.root"])) == expected


def test_a_circle_of_imports_ends(home: Path) -> None:
    write(home, one="import podsquad.two", two="import podsquad.one")
    assert set(code_digests(["podsquad.one"])) == {"podsquad.one", "podsquad.two"}


def test_a_star_stands_for_every_module_of_a_package(home: Path) -> None:
    assert list(code_digests(["podsquad.room.*"])) == ["podsquad.a", "podsquad.room.c", "podsquad.room.d"]


def test_the_digest_is_that_of_the_bytes_and_only_the_changed_module_s_changes(home: Path) -> None:
    before = code_digests(["podsquad.room.d"])
    write(home, a="A = 2\n")
    source._read.cache_clear()
    after = code_digests(["podsquad.room.d"])
    assert before["podsquad.room.d"] == after["podsquad.room.d"]
    assert before["podsquad.a"] != after["podsquad.a"]
    assert all(len(digest) == 16 for digest in after.values())


def test_the_order_of_the_roots_does_not_matter(home: Path) -> None:
    roots = ["podsquad.room.d", "podsquad.b"]
    assert list(code_digests(roots).items()) == list(code_digests(reversed(roots)).items())


def test_a_root_that_is_not_there_is_not_passed_over(home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        code_digests(["podsquad.absent"])


def test_carriers_hide_nothing_but_themselves() -> None:
    assert set(code_digests(CARRIERS, carriers=())) == set(CARRIERS)


def test_a_function_s_digest_changes_with_its_source_alone() -> None:
    def first() -> int:
        return 1

    before = function_digest(first)

    def first() -> int:  # type: ignore[no-redef]
        return 2

    after = function_digest(first)
    assert list(before) == list(after)
    assert before != after
    assert function_digest(first) == after
