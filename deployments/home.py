"""Where a checkout keeps the state of its server and worker, and with which environment they run."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, MutableMapping
from pathlib import Path

from podsquad.command.run import prepare_prefect
from podsquad.errors import InternalError, PodsquadError, SettingsError, TemporaryError
from podsquad.terminal import print_error

CHECKOUT = Path(__file__).resolve().parents[1]
STATE = CHECKOUT / ".podsquad"
PREFECT_HOME = STATE / "prefect"
SERVER_RECORD = STATE / "server.json"  # podsquad.command.run reads it too
WORKER_RECORD = STATE / "worker.json"
LOGS = STATE / "logs"
PREFECT_FILE = Path("deployments/prefect.yaml")  # from the checkout
POOL = "pod"
CHECKOUT_VARIABLE = "PODSQUAD_CHECKOUT"  # prefect.yaml's pull step takes the runs' working folder from it
_WHICH_PREFECT = ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def own_environment() -> dict[str, str]:
    """Return the environment in which this checkout's own server, and what talks to it, run.

    Which Prefect the caller uses otherwise is left out; every other setting of theirs stays, the server's database
    among them.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _WHICH_PREFECT}
    prepare_prefect(environ, PREFECT_HOME)
    return environ


def use_server(environ: MutableMapping[str, str] = os.environ) -> str:
    """Prepare the environment before Prefect is imported and return the address of the server's API.

    It is the caller's (``PREFECT_API_URL``), else the one that ``make up`` started here. Raises SettingsError when
    there is neither.
    """
    prepare_prefect(environ, PREFECT_HOME)
    if address := environ.get("PREFECT_API_URL"):
        return address
    raise SettingsError(
        "there is no Prefect server to talk to",
        why="PREFECT_API_URL is not set, and no server of this checkout runs",
        do="start one with: make up",
    )


def reach_server() -> str:
    """Do as ``use_server``, and raise TemporaryError when that server does not answer."""
    address = use_server()
    if reason := why_silent(address):
        raise TemporaryError(
            f"Prefect's server at {address} cannot be reached: {reason}",
            why="it is down, or PREFECT_API_URL is wrong",
            do="start this checkout's own with: make up; or set PREFECT_API_URL to one that runs",
        )
    return address


def why_silent(address: str) -> str:
    """Return why the server's API at that address does not answer; empty when it does."""
    import httpx

    try:
        answer = httpx.get(f"{address}/health", timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return "" if answer.is_success else f"it answers {answer.status_code}"


def worker_name() -> str:
    """Return the worker's name: that of the host, so that a restarted worker knows its runs again."""
    return socket.gethostname()


def run_program(program: Callable[[], object]) -> None:
    """Run a program of this package and exit as ``podsquad`` does: an error in three parts, and its exit code."""
    try:
        program()
        return
    except PodsquadError as error:
        failure = error
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        traceback.print_exc()
        failure = InternalError(
            f"{type(error).__name__}: {error}",
            why="a bug, or a refusal of Prefect's",
            do="report this with the logs in .podsquad",
        )
    print_error(failure)
    sys.exit(failure.exit_code)
