"""``podsquad drill``: do harm to a tiny run in this deployment, and see whether it recovers."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from podsquad.command.run import stop_explained
from podsquad.config.settings import Settings
from podsquad.drill.deployment import Deployment
from podsquad.drill.scenarios import DRILLS, Outcome, undisturbed
from podsquad.errors import InternalError, SettingsError
from podsquad.preflight import first_failure, run_checks
from podsquad.terminal import print_json, print_table


def run_drills(settings: Settings, names: Sequence[str], *, as_json: bool) -> bool:
    """Run the drills of those names, all when there are none, and print what they came to; True when all passed.

    Raises SettingsError for a name that is no drill's, what the pre-flight finds wrong (an interpreter without torch),
    InternalError when even an undisturbed run fails, and StoppedError on SIGTERM and when its terminal is closed. In
    each case, on Ctrl-C too, its runs are ended and what they made is removed.
    """
    if unknown := [name for name in names if name not in DRILLS]:
        raise SettingsError(
            f"there is no drill {unknown[0]!r}",
            why="a drill is known by its name",
            do="choose from: " + ", ".join(DRILLS),
        )
    outcomes: list[Outcome] = []
    # Its runs are in sessions of their own: no signal reaches them but through it.
    stops = stop_explained(signal.SIGTERM, signal.SIGHUP, do="run the same again: what it had made is removed")
    with stops, tempfile.TemporaryDirectory(prefix="podsquad-drill-") as scratch:
        with Deployment(settings, Path(scratch)) as place:
            if problem := first_failure(run_checks(place.settings(), publish=False)):
                raise problem
            _say(f"an undisturbed run into {place.store}, of keys of its own")
            whole = undisturbed(place)
            if not whole:
                raise InternalError(
                    "an undisturbed run failed, so there is nothing to do harm to",
                    why="this deployment cannot run the demo",
                    do="look at what `podsquad run --profile demo` says",
                )
            for name in names or DRILLS:
                _say(f"{name}: {(DRILLS[name].__doc__ or '').strip()}")
                outcomes.append(DRILLS[name](place, whole, lambda: None))
    passed = all(each.passed for each in outcomes)
    if as_json:
        drills = [{**asdict(each), "passed": each.passed} for each in outcomes]
        print_json({"passed": passed, "store": str(settings.store.path), "drills": drills})
    else:
        _show(outcomes)
    return passed


def _show(outcomes: Sequence[Outcome]) -> None:
    rows = [
        (each.name, "passed" if each.passed else "FAILED", f"at most {each.lost_steps}" if each.lost_steps else "none",
         f"{each.recovery_seconds:.1f} s", each.done)
        for each in outcomes
    ]  # fmt: skip
    print_table(("drill", "verdict", "lost steps", "recovery", "what was done"), rows, right=("recovery",))
    for each in outcomes:
        for fault in each.faults:
            print(f"{each.name}: {fault}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
