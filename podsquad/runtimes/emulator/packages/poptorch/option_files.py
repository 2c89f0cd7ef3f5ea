"""Options from text: JSON of setter calls, and files with one setter call a line.

A file is parsed, never executed: a line is a call, by a path of names, with literals or members of poptorch as
arguments.
"""

from __future__ import annotations

import ast
import os
from typing import Any

import torch

from . import enums


class ConfigFileError(Exception):
    """A line of a file of options is no call that poptorch knows."""


def _member(text: str) -> Any:
    """The enumeration's member that ``text`` names, or ``text``."""
    kind, _, name = text.partition(".")
    return getattr(getattr(enums, kind, None), name, text)


def _setter(options: Any, path: str) -> Any:
    target = options
    for name in path.split("."):
        target = getattr(target, name)
    return target


def apply_json(options: Any, calls: dict[str, Any]) -> None:
    """Call ``options``' setters: names to arguments; a list is several arguments."""
    for path, value in calls.items():
        given = value if isinstance(value, list) else [value]
        _setter(options, path)(*[_member(v) if isinstance(v, str) and "." in v else v for v in given])


def _value(node: ast.expr) -> Any:
    """A literal, or what a dotted name such as ``poptorch.OutputMode.All`` or ``torch.half`` means."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.Dict):
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(keys, [_value(value) for value in node.values]))
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Call):
        return _call(node, None)
    return _resolve(_dotted(node), None)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return _dotted(node.value) + "." + node.attr
    if isinstance(node, ast.Name):
        return node.id
    raise ConfigFileError("not a name, a literal or a call of poptorch")


def _resolve(path: str, options: Any) -> Any:
    import poptorch  # whole only when a file is read

    roots = {"poptorch": poptorch, "torch": torch, "options": options}
    first, _, rest = path.partition(".")
    if first not in roots:
        raise ConfigFileError("unknown name {}".format(first))
    return _setter(roots[first], rest)


def _call(node: ast.Call, options: Any) -> Any:
    target = node.func
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Call):
        function = getattr(_call(target.value, options), target.attr)
    else:
        function = _resolve(_dotted(target), options)
    return function(*[_value(a) for a in node.args], **{str(k.arg): _value(k.value) for k in node.keywords})


def apply_file(options: Any, filepath: str) -> None:
    """Make the calls of a file. Raises ConfigFileError, with file and line, for a line that is no such call."""
    with open(filepath, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            where = "at line {} of {}".format(number, os.path.basename(filepath))
            try:
                parsed = ast.parse("options." + text, mode="eval").body
            except SyntaxError as error:
                raise ConfigFileError("SyntaxError {}: {}\n> options.{}".format(where, error.args[0], text)) from error
            if not isinstance(parsed, ast.Call):
                raise ConfigFileError("SyntaxError {}: not a call\n> options.{}".format(where, text))
            _call(parsed, options)
