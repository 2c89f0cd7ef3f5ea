"""What podsquad wants to reach against its peers (aims.py), and what the results files say of it.

    python -m benchmarks.targets              the table, from the files as they are, also in results/table.md
    python -m benchmarks.targets README.md    the same, and puts it and the sentences there in the former ones' place

A file that is missing, or a figure below its mark, is shown and not left out.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, Aim
from benchmarks.timing import RESULTS
from podsquad.store.durable import write_bytes

FALLS_SHORT = "falls short"
NOT_MEASURED = "not measured"


def make_table(results: Path = RESULTS) -> str:
    """Return the table in Markdown, one row per aim."""
    lines = ["| work | peer | mark | by the clock | by processor time | others used | command |"]
    lines.append("|---|---|---|---|---|---|---|")
    for aim in AIMS:
        count, *found = _found(aim, results)
        cells = [aim.work.replace("#", count), aim.peer, aim.mark, *found]
        lines.append("| " + " | ".join([*cells, f"`python -m benchmarks.{aim.module}`"]) + " |")
    return "\n".join(lines)


def sentences(results: Path = RESULTS) -> dict[str, str]:
    """Return the README's lines beside the table that quote the results: how each begins, and how it goes on."""

    def told(module: str, read: Callable[[Mapping[str, Any]], str]) -> str:
        try:
            return read(_read(results, module))
        except (OSError, KeyError):
            return NOT_MEASURED

    quoted = {
        "The machine of each figure": _machines(results),
        "The demo's F1, a seed each": told("demo", _f1),
        "Text to features on one core is without the stage's copy of the tokenizer": told("features", _copy),
        "The demo's model, of the night with nothing new, has megabytes": told("unchanged_run", _megabytes),
        "The emulated POD16's loss in its first and last 8 steps, F1 and exact match": told("emulated_night", _learnt),
    }
    return {f"- {name}: ": f"{figures}." for name, figures in quoted.items()}


def _machines(results: Path) -> str:
    """Return the machines that the figures are of; which figures, where there is more than one machine."""
    made: dict[str, set[str]] = {}
    for module in sorted({aim.module for aim in AIMS}):
        with contextlib.suppress(OSError, KeyError):
            machine = _read(results, module)["machine"]
            kind = machine.get("kind", "of a kind that was not told")
            made.setdefault(f"{machine['cores']} cores, {machine['processor']}, {kind}", set()).add(module)
    if len(made) > 1:
        return "; ".join(f"{', '.join(sorted(modules))}: {machine}" for machine, modules in made.items())
    return next(iter(made), NOT_MEASURED)


def _f1(demo: Mapping[str, Any]) -> str:
    return ", ".join(f"{run['f1']:.1f}" for run in demo["runs"])


def _megabytes(unchanged: Mapping[str, Any]) -> str:
    return f"{unchanged['model_bytes'] / 1e6:.1f}"


def _copy(features: Mapping[str, Any]) -> str:
    parts = [features["one_core"][part] for part in ("real", "grown")]
    seconds = " and ".join(f"{part['median_seconds']['tokenizer_copy']:.2f} s" for part in parts)
    with_it = " and ".join(f"{part['times_faster_with_tokenizer_copy']:.1f} x" for part in parts)
    return f"{seconds}; with it {with_it}"


def _learnt(night: Mapping[str, Any]) -> str:
    return f"{night['first_loss']:.2f} and {night['last_loss']:.2f}, {night['f1']}, {night['exact_match']}"


def _found(aim: Aim, results: Path) -> tuple[str, str, str, str]:
    """Return how many; what was found by the clock, with the words where it falls short, and else; and the load."""
    try:
        result = _read(results, aim.module)
        figure = aim.read(result)
        machine = result["machine"]
    except (OSError, KeyError):
        return "some", NOT_MEASURED, "", ""
    count = "" if figure.count is None else f"{figure.count:,}"
    clock = figure.clock if figure.is_reached else f"{figure.clock}, {FALLS_SHORT}"
    return count, clock, figure.processor, _load(machine)


def _read(results: Path, module: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((results / f"{module}.json").read_text(encoding="utf-8"))
    return result


def _load(machine: Mapping[str, Any]) -> str:
    others = machine.get("others_used_cores")
    if others is None:
        return "?"
    return f"{others:.1f} of {machine['cores']} cores" + (", busy" if machine.get("was_busy") else "")


def put_into(readme: str, results: Path = RESULTS) -> str:
    """Return the README's text with the table and the sentences as the results have them.

    Raises ValueError where it does not hold one of each, to put them in the place of.
    """
    table = make_table(results)
    quoted = {re.escape(table.splitlines()[0]) + r"\n(\|.*\n)+": f"{table}\n"}
    quoted |= {f"(?m)^{re.escape(begin)}.*$": begin + rest for begin, rest in sentences(results).items()}
    for pattern, new in quoted.items():
        readme, count = re.subn(pattern, lambda _, new=new: new, readme)
        if count != 1:
            raise ValueError(f"the README holds {count} times what looks like {pattern}, and should once")
    return readme


def write_table(results: Path = RESULTS) -> str:
    """Write the table beside the results, and return it."""
    table = make_table(results)
    write_bytes(results / "table.md", f"{table}\n".encode())
    return table


def main(arguments: list[str]) -> None:
    """Print and write the table; put it into the README that is named."""
    print(write_table())
    for name in arguments:
        path = Path(name)
        path.write_text(put_into(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
