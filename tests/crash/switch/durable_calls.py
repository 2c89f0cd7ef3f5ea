"""Every call in podsquad that makes something durable, read from the code: its name and its lines.

Imports nothing of podsquad: the kill switch looks here in every process (sitecustomize.py), the tests by points.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

DURABLE_MODULE = "store/durable.py"  # below podsquad/
_SYSTEM = ("rename", "replace", "link", "symlink")
_OF_PATHS = {"rename": "rename", "replace": "replace", "symlink_to": "symlink", "hardlink_to": "link"}


class DurableCall(NamedTuple):
    """A call of a durable function, a rename or a link."""

    function: str
    """In which it stands."""
    callee: str
    """What is called; the second such call of one function is ``callee#2``."""
    first_line: int
    last_line: int


@lru_cache
def durable_calls(path: Path, home: Path) -> tuple[DurableCall, ...]:
    """Return the durable calls of a file below ``home``, the folder of the package podsquad, in their order.

    ``str.replace`` and ``datetime.replace`` are told from a path's by their arguments: a path's takes one.
    """
    durable = durable_functions(home / DURABLE_MODULE)
    found: list[DurableCall] = []
    counts: dict[tuple[str, str], int] = {}
    for function, first_line, call in sorted(_calls(_parse(path), ""), key=lambda each: (each[1], each[2].col_offset)):
        if callee := _callee(call, durable):
            number = counts[function, callee] = counts.get((function, callee), 0) + 1
            name = callee if number == 1 else f"{callee}#{number}"
            found.append(DurableCall(function, name, first_line, call.end_lineno or call.lineno))
    return tuple(found)


def name_of_call(path: Path, home: Path, function: str, callee: str, line: int) -> str:
    """Return the name of the call of ``callee`` that a frame of ``function`` stands at; ``callee#0`` if none is known.

    The block of a ``with`` ends at the line where it began.
    """
    for call in durable_calls(path, home):
        same = call.function == function and call.callee.partition("#")[0] == callee
        if same and call.first_line <= line <= call.last_line:
            return call.callee
    return f"{callee}#0"


@lru_cache
def durable_functions(path: Path) -> frozenset[str]:
    """Return the public functions of a module that open a file to write or call for a rename or link, or lead there."""
    bodies = {node.name: node for node in _parse(path).body if isinstance(node, ast.FunctionDef)}
    names = {name: set(_named(body)) for name, body in bodies.items()}
    writing = {name for name, called in names.items() if called & {"open", *_SYSTEM}}
    while more := {name for name, called in names.items() if called & writing} - writing:
        writing |= more
    return frozenset(name for name in writing if not name.startswith("_"))


def _named(body: ast.AST) -> Iterator[str]:
    """Yield the names of functions called, of ``os`` without its name; ``os.open`` is none, which here only flushes."""
    for node in ast.walk(body):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and node.func.attr in _SYSTEM and _is_of_os(node.func):
                yield node.func.attr


def _calls(node: ast.AST, function: str, first_line: int = 0) -> Iterator[tuple[str, int, ast.Call]]:
    """Yield function, first line and call of every call; that of a ``with`` begins where the statement does."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call):
            yield function, first_line or child.lineno, child
        begins = node.lineno if isinstance(child, ast.withitem) and isinstance(node, ast.With) else 0
        yield from _calls(child, inside, begins)


def _callee(call: ast.Call, durable: frozenset[str]) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id if call.func.id in durable else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    if _is_of_os(call.func):
        return call.func.attr if call.func.attr in _SYSTEM else ""
    if call.func.attr == "replace" and (len(call.args) != 1 or call.keywords):
        return ""
    return _OF_PATHS.get(call.func.attr, "")


def _is_of_os(function: ast.Attribute) -> bool:
    return isinstance(function.value, ast.Name) and function.value.id == "os"


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
