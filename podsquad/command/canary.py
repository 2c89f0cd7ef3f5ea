"""``podsquad run --canary``: the same training again, in a scratch store, compared with what there is."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from podsquad.command.run import prepare_prefect, stop_explained
from podsquad.config.settings import Settings
from podsquad.preflight import first_failure, run_checks
from podsquad.reporting import EMULATED
from podsquad.terminal import print_json, print_table, told_on_terminal

DRIFTED = 1  # the exit code of an answer that is no


def run_canary(
    settings: Settings,
    overrides: Mapping[str, str],
    *,
    run_flow: Callable[[dict[str, Any]], dict[str, Any]],
    keep: bool,
    note: str,
    as_json: bool,
) -> int:
    """Run the canary's flow, print its report and return the exit code: 0 reproduced, 1 drifted.

    ``run_flow`` is as in ``run_retraining``. Raises what finding the model to reproduce and making it again raise.
    """
    if failure := first_failure(run_checks(settings, publish=False)):
        raise failure
    started = time.monotonic()
    with told_on_terminal(), stop_explained(signal.SIGTERM):
        logging.getLogger("podsquad.canary").info("starts with the profile %s", settings.profile)
        prepare_prefect(os.environ)
        parameters = {"profile": settings.profile, "keep": keep, "note": note, "overrides": dict(overrides)}
        report = run_flow(parameters)
    report["seconds"] = round(time.monotonic() - started, 2)
    if as_json:
        print_json(report)
    else:
        _print(report)
    return 0 if report["verdict"] == "reproduced" else DRIFTED


def _print(report: Mapping[str, Any]) -> None:
    rows = [
        (
            each["stage"],
            "same" if each["is_same"] else "OTHER",
            each["expected_digest"][:12],
            each["digest"][:12],
            "; ".join(each["differences"]) or ", ".join(each["files"]),
        )
        for each in report["stages"]
    ]
    print_table(("stage", "", "digest before", "now", "what differs"), rows)
    print()
    print(f"canary      {report['summary']}")
    if report["emulated"]:
        print(f"emulated    {EMULATED}")
    if report["scratch"]:
        print(f"kept in     {report['scratch']}")
    print(f"in          {report['seconds']:.1f} s")
