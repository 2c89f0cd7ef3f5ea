"""The turns of a folder target: which version became current, when, and which was rolled back and why.

``turns.json`` is written before the pointer moves, and the pointer decides: turns after the last one of the version
that it names did not take effect (their writer was killed, or somebody moved the pointer by hand).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from podsquad.errors import DataError
from podsquad.publishing.target import Version, tag_of
from podsquad.store.durable import parse_json, write_json

TURNS_FILE = "turns.json"


@dataclass(frozen=True)
class Turn:
    """One version's becoming current."""

    key: str
    at: str
    reason: str = ""
    """Why the version before it was rolled back; empty: it was not."""
    model: str = ""
    """The digest of its model; empty: it was not recorded."""


def read_turns(home: Path, current: str | None) -> tuple[Turn, ...]:
    """Return the turns that took effect, the oldest first, where ``current`` is the key that the pointer leads to.

    Where that key had no turn, or there is no pointer, all are taken. Raises DataError for a file that cannot be read.
    """
    path = home / TURNS_FILE
    try:
        turns = tuple(Turn(**each) for each in parse_json(path.read_bytes())["turns"])
        "".join(
            text for turn in turns for text in (turn.key, turn.at, turn.reason, turn.model)
        ).encode()  # texts, of Unicode
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {type(error).__name__}: {error}",
            why="podsquad writes this file; somebody changed it by hand",
            do="restore it, or publish under another name with --set publish.name=NAME",
        ) from error
    places = [place for place, turn in enumerate(turns) if turn.key == current]
    return turns[: places[-1] + 1] if places else turns


def write_turns(home: Path, turns: Sequence[Turn]) -> None:
    """Write the turns durably."""
    write_json(home / TURNS_FILE, {"turns": [asdict(turn) for turn in turns]})


def rollbacks_in(turns: Sequence[Turn]) -> tuple[dict[str, dict[str, str]], tuple[dict[str, str], ...]]:
    """Return what was rolled back, and which rollbacks were undone, as ``TargetState`` tells withdrawn and undone."""
    withdrawn: dict[str, dict[str, str]] = {}
    undone = []
    before = None
    for turn in turns:
        if entry := withdrawn.pop(tag_of(turn.key), None):
            undone.append({"tag": tag_of(turn.key), **entry})
        if turn.reason and before and before.key != turn.key:
            entry = {"reason": turn.reason, "restored": tag_of(turn.key), "at": turn.at}
            withdrawn[tag_of(before.key)] = entry | ({"model": before.model} if before.model else {})
        before = turn
    return withdrawn, tuple(undone)


def versions_of(turns: Sequence[Turn]) -> list[Version]:
    """Return each version once, that which became current last first."""
    return [Version(key) for key in dict.fromkeys(turn.key for turn in reversed(turns))]
