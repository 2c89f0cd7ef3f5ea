"""``podsquad run``: the Prefect flow in this process, with its own quiet Prefect unless the caller has one."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.errors import StoppedError, from_os_error
from podsquad.preflight import first_failure, run_checks
from podsquad.processes import read_record
from podsquad.reporting import EMULATED
from podsquad.terminal import print_json, print_table, told_on_terminal

PREFECT_HOME = Path(".podsquad/prefect")
_KEPT = ("rejected", "incomparable")  # verdicts after which the champion may stay, though something new was made
SERVER_RECORD = "server.json"  # beside that home: the server that `make up` started (deployments/up.py)


def run_retraining(
    settings: Settings,
    overrides: Mapping[str, str],
    refresh: list[StageName],
    *,
    run_flow: Callable[[dict[str, Any]], dict[str, Any]],
    publish: bool = True,
    note: str = "",
    as_json: bool,
) -> bool:
    """Run the flow and print its report; return whether the gate kept the champion though something new was made.

    Raises the errors of podsquad.errors.

    ``run_flow`` takes the flow's parameters and returns its report. It is called when the environment is as Prefect has
    to find it, so it must not have imported Prefect before.
    """
    # The flow reads the token of a Secret block, and then makes all checks again.
    if failure := first_failure(run_checks(settings, publish=publish, block_is_read=False)):
        raise failure
    started = time.monotonic()
    with told_on_terminal(), stop_explained(signal.SIGTERM):
        logging.getLogger("podsquad.run").info("starts with the profile %s", settings.profile)
        prepare_prefect(os.environ)
        report = run_flow(
            {
                "profile": settings.profile,
                "refresh": refresh,
                "publish": publish,
                "note": note,
                "overrides": dict(overrides),
            }
        )
    report["seconds"] = round(time.monotonic() - started, 2)
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    verdict = report["verdict"]
    return bool(verdict) and verdict["verdict"] in _KEPT and not report["is_published"]


def prepare_prefect(environ: MutableMapping[str, str], home: Path = PREFECT_HOME) -> None:
    """Set, before Prefect is imported, what keeps it quiet and a stranger's own Prefect untouched.

    A home of its own is used only where the caller has not said which Prefect to use, and with it the server that
    ``make up`` has started beside it, if that still runs; nothing that is set already is changed.
    """
    if not {"PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"} & environ.keys():
        environ["PREFECT_HOME"] = str(home.absolute())
        if address := _running_server(home.with_name(SERVER_RECORD)):
            environ["PREFECT_API_URL"] = address
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, "making Prefect's home", "PREFECT_HOME=FOLDER in the environment") from error
    environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    environ.setdefault("DO_NOT_TRACK", "1")  # the same for the client, which would also print a notice
    # The first start of a temporary server makes its database: 12 s, and up to a minute on a busy machine.
    environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    # A dead run is known by its missing heartbeats (deployments/automations.py waits for several).
    environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "podsquad")
    environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # The terminal shows the domain's log; Prefect's own goes to its server, where people look at runs.
    environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def _running_server(record: Path) -> str | None:
    found = read_record(record)
    return str(found[1].get("api_url") or "") or None if found and found[0].is_alive() else None


class _Stopped(BaseException):
    """A signal came. No Exception: nothing on the way up may take it for a failure of its own."""


@contextmanager
def stop_explained(*numbers: signal.Signals, do: str = "run the same again: it goes on from there") -> Iterator[None]:
    """Let these signals end the block with StoppedError; ``do`` is its way out.

    Those that come after the first are ignored, so that the block's ends come to theirs; and so is what was ignored
    before (nohup). Prefect handles SIGTERM while a flow runs, and then sends it to the process again for whoever had it
    before: with the default handler that would kill this process, and leave the temporary server behind.
    """
    before = {each: handler for each in numbers if (handler := signal.getsignal(each)) != signal.SIG_IGN}

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(signal.Signals(number).name)

    for each in before:
        signal.signal(each, stop)
    try:
        yield
    except _Stopped as stopped:
        raise StoppedError(
            f"stopped by {stopped}",
            why="a person, a scheduler, a terminal that was closed or the end of the machine asked for it",
            do=do,
        ) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _print_report(report: Mapping[str, Any]) -> None:
    rows = [
        (stage["stage"], stage["state"], f"{stage['seconds']:.1f} s", stage["key"][:12], stage["reason"])
        for stage in report["stages"]
    ]
    if rows:
        print_table(("stage", "state", "time", "key", "reason"), rows, right=("time",))
        print()
    print(f"exact match {report['exact_match']:.2f}, F1 {report['f1']:.2f} on {report['num_questions']:,} questions")
    if report["emulated"]:
        print(f"emulated    {EMULATED}")
    if report["stages"]:
        print(f"store       {shown_path(Path(report['stages'][0]['path']).parents[1])}")
    if verdict := report["verdict"]:
        print(f"verdict     {verdict['verdict']}: {verdict['reason']}")
        if verdict["policy"]:
            print(f"            {verdict['policy']}")
        if uses := verdict["num_earlier_uses"]:  # the more, the likelier it is that the best of them was lucky
            print(f"uses        {uses:,} other models were judged on these questions before")
        print(f"{'published  ' if report['is_published'] else 'stays      '} {report['publication'] or 'nothing'}")
    else:
        print("published   nothing: the run was to end after evaluate")
    print(f"in          {report['seconds']:.1f} s")
    if report["example"] is None:
        return
    example, model = report["example"], shlex.quote(report["model"])
    print(f"\nask it:     {program(sys.argv[0])} ask --model {model} {shlex.quote(example['question'])} \\")
    print(f"              --context {shlex.quote(example['context'])}")


def program(started_as: str) -> str:
    """Return what a person types to start this command again: its name where the shell finds it, else its path."""
    if Path(started_as).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m podsquad"
    found, started = shutil.which("podsquad"), Path(started_as).absolute()
    if found and Path(found).absolute() == started:
        return "podsquad"
    return shlex.quote(shown_path(started))


def shown_path(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
