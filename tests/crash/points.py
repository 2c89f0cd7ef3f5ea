"""Every place in podsquad's code that makes something durable, found from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import podsquad

DURABLE = ("durable_file", "write_bytes", "write_json", "move_folder")
SYSTEM = ("rename", "replace", "link", "symlink", "symlink_to", "hardlink_to")
_HOME = Path(podsquad.__file__).parent


def points_in_code() -> set[str]:
    """Return ``module:function:callee`` of every call of a durable function, a rename or a link in podsquad/.

    ``str.replace`` and ``datetime.replace`` are told from a path's by their arguments: a path's takes one.
    """
    return {point for path in sorted(_HOME.rglob("*.py")) for point in _points(path)}


def _points(path: Path) -> Iterator[str]:
    module = ".".join(("podsquad", *path.relative_to(_HOME).with_suffix("").parts))
    if module == "podsquad.store.durable":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function, call in _calls(tree, ""):
        if callee := _callee(call):
            yield f"{module}:{function}:{callee}"


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(child, inside)


def _callee(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id if call.func.id in DURABLE else ""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in SYSTEM:
        return ""
    if isinstance(call.func.value, ast.Name) and call.func.value.id == "os":
        return call.func.attr
    return _of_path(call)


def _of_path(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr == "replace" and (len(call.args) != 1 or call.keywords):
        return ""
    return {"symlink_to": "symlink", "hardlink_to": "link"}.get(call.func.attr, call.func.attr)
