"""Write docs/failures.md: every error that the code raises on purpose, read from the code.

    python scripts/failures.py           write it
    python scripts/failures.py --check   end with 1 when it is not as the code is

A value that stands in a message at run time is shown as its expression in braces.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podsquad.errors import PodsquadError, all_errors

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "failures.md"
_ROOMS = ("podsquad", "tasks", "flows", "deployments")
_WORDING = "Wording"  # hub_errors.py: what its callers say of the Hub's refusals
_LONGEST_EXPRESSION = 40

_HEAD = """# Failures

Written by `python scripts/failures.py` from the code; a test keeps it so. A value that a message tells at run time
stands in braces, as the expression it comes from.

An error has a headline, a likely cause and a way out, and never a traceback. Its class decides everything else: the
exit code of the command and of a runtime, and whether Prefect tries the stage again (`tasks/stage_task.py`).

| remedy | what happens | what to do |
|---|---|---|
| retry | the flow tries the stage again by itself, `retry.retries` times, `retry.delay_seconds` apart and doubling | \
if it ends so in spite of that: run the same again later |
| resume | the run ends at once | mend the place (space, rights, a disk that is gone), and run the same again: \
finished stages are reused, a training goes on from its checkpoint |
| stop | the run ends at once | change the setting, the data or the code that the message names |

Whatever the class, no stage's artifact is there in part: it appears whole, by one rename, or not at all. A command that
is stopped by Ctrl-C ends with 130.

| error | remedy | exit code | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Site:
    """One place in the code that makes an error."""

    kind: str
    where: str
    parts: dict[str, str]

    def lines(self) -> Iterator[str]:
        """Yield the entry of the list."""
        yield f"- {self.parts.get('what', '…')}  "
        for label, name in (("Why", "why"), ("Do", "do")):
            if text := self.parts.get(name):
                yield f"  {label}: {text}  "
        yield f"  `{self.where}`"


def page(root: Path = ROOT) -> str:
    """Return the page's text."""
    kinds = [kind for kind in all_errors() if kind is not PodsquadError and kind.__module__ == "podsquad.errors"]
    names = {kind.__name__ for kind in kinds}
    sites = sorted(set_of_sites(root, names | {_WORDING}), key=lambda site: (site.where, str(site.parts)))
    lines = [_HEAD.rstrip("\n")]
    for kind in kinds:
        meaning = (kind.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| [{kind.__name__}](#{kind.__name__.lower()}) | {kind.remedy} | {kind.exit_code} | {meaning} |")
    for kind in kinds:
        lines += ["", f"## {kind.__name__}", "", f"{kind.remedy}, exit code {kind.exit_code}.", ""]
        own = [site for site in sites if site.kind == kind.__name__]
        lines += [line for site in own for line in site.lines()] or ["Only its subclasses are raised."]
    lines += ["", "## The Hub", "", "What each caller of the Hub says where an entry above reads `wording`.", ""]
    for site in sites:
        if site.kind == _WORDING:
            lines.append(f"- {site.parts['what']} (`{site.where}`)")
            lines += [
                f"  - {name}: {text}"
                for name, text in site.parts.items()
                if name not in ("what", "doing", "other_kind")
            ]
    return "\n".join(lines) + "\n"


def incomplete(root: Path = ROOT) -> list[str]:
    """Return the places in the code that make an error without saying what happened, why, and what to do."""
    names = {kind.__name__ for kind in all_errors() if kind.__module__ == "podsquad.errors"}
    parts = ("what", "why", "do")
    return [site.where for site in set_of_sites(root, names) if not all(site.parts.get(part) for part in parts)]


def set_of_sites(root: Path, names: set[str]) -> list[Site]:
    """Return every call of one of the names in the code below ``root``, each text once per function."""
    found: dict[str, Site] = {}
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            if "packages" in path.parts:  # of the emulation: they raise poptorch's errors
                continue
            module = path.relative_to(root).as_posix()
            for function, call in _calls(ast.parse(path.read_text(encoding="utf-8")), ""):
                if isinstance(call.func, ast.Name) and call.func.id in names:
                    site = Site(call.func.id, f"{module}: {function}" if function else module, _parts(call))
                    found[repr(site)] = site
    return list(found.values())


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(child, inside)


def _parts(call: ast.Call) -> dict[str, str]:
    parts = {"what": _text(call.args[0])} if call.args else {}
    return parts | {word.arg: _text(word.value) for word in call.keywords if word.arg}


def _text(node: ast.expr) -> str:
    """Return what an expression says, in one line of Markdown."""
    return " ".join(_spoken(node).split()).replace("<", "\\<").replace("|", "\\|").replace("*", "\\*")


def _spoken(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_spoken(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return _expression(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _spoken(node.left) + _spoken(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_spoken(node.body)} [or] {_spoken(node.orelse)}"
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return " [or] ".join(_spoken(value) for value in node.values)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
    ):
        return _formatted(str(node.func.value.value), node)
    return _expression(node)


def _formatted(template: str, call: ast.Call) -> str:
    """Return ``"...{}...".format(a, b)`` with the arguments' expressions in place (Python 3.8's rooms write so)."""
    for argument in call.args:
        before, brace, rest = template.partition("{")
        template = before + brace.replace("{", "\0") + _expression(argument)[1:-1] + "\0" + rest.partition("}")[2]
    pieces = template.split("\0")
    return "".join(piece if number % 2 == 0 else "{" + piece + "}" for number, piece in enumerate(pieces))


def _expression(node: ast.expr) -> str:
    written = ast.unparse(node)
    return "{" + (written if len(written) <= _LONGEST_EXPRESSION else "…") + "}"


def main() -> int:
    """Write the page, or compare it with the code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when it is out of date")
    made = page()
    if parser.parse_args().check:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
