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
# Its functions that write nothing: any other, a new one too, is taken to make something durable.
WRITE_NOTHING = frozenset(
    ("canonical_json", "encode_json", "parse_json", "encode_lines", "parse_lines", "parse_object", "flush_folder")
)
_SYSTEM = ("rename", "renames", "replace", "link", "symlink")
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

    ``str.replace`` and ``datetime.replace`` are told from a path's by their arguments: a path's takes one. Raises
    ValueError where a durable function, or their module, is imported by another name, which hides its calls.
    """
    durable, module = durable_functions(home / DURABLE_MODULE), _parse(path)
    if hidden := ", ".join(_hidden(module, durable)):
        raise ValueError(f"{path} imports {hidden}: a call of it would be no place where the tests kill")
    found: list[DurableCall] = []
    counts: dict[tuple[str, str], int] = {}
    for function, first_line, call in sorted(_calls(module, ""), key=lambda each: (each[1], each[2].col_offset)):
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
    """Return the public functions of the module of durable writes but for those that are known to write nothing."""
    public = {each.name for each in _parse(path).body if isinstance(each, ast.FunctionDef)}
    return frozenset(name for name in public - WRITE_NOTHING if not name.startswith("_"))


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
    name, owner = call.func.attr, _last_name(call.func.value)
    if owner in ("durable", "os", "shutil"):
        return name if name in {"durable": durable, "os": _SYSTEM, "shutil": ("move",)}[owner] else ""
    if name == "replace" and (len(call.args) != 1 or call.keywords):
        return ""
    return _OF_PATHS.get(name, "")


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _hidden(module: ast.Module, durable: frozenset[str]) -> Iterator[str]:
    """Yield the imports that give a durable function, or its module, a name that a call is not known by."""
    for node in ast.walk(module):
        for each in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            name = each.name.rpartition(".")[2]
            is_renamed = each.asname not in (None, name)
            if name in (*durable, "durable", "os", "shutil") and is_renamed:
                yield f"{each.name} as {each.asname} in line {node.lineno}"
            elif isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil") and name in (*_SYSTEM, "move"):
                yield f"{each.name} from {node.module} in line {node.lineno}"


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
