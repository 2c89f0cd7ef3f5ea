"""The flow in this process, with a temporary Prefect server where no other is named."""

from __future__ import annotations

import signal
from typing import Any

import httpx
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL

from flows.canary import canary
from flows.retrain import retrain
from podsquad.errors import PodsquadError, SettingsError, StoppedError, TemporaryError
from podsquad.hub_errors import status_of
from tasks.server import why_away

# What Prefect says in a RuntimeError of no kind of its own when there is no server to talk to.
_NO_SERVER = ("Failed to reach API", "ephemeral Prefect API server")
_REFUSED_STATUS = (401, 403)


def run_here(parameters: dict[str, Any], *, is_canary: bool = False) -> dict[str, Any]:
    """Run the night's flow, or the canary's, and return its report, that of a drift too.

    Raises what the stages raise, StoppedError on SIGTERM, TemporaryError when Prefect's server cannot be reached or is
    not well, SettingsError when it refuses access.
    """
    keep_interrupts_from_server()
    try:
        report: dict[str, Any] = _canary_report(parameters) if is_canary else retrain(**parameters)
    except TerminationSignal as stop:
        raise StoppedError(
            "stopped by SIGTERM",
            why="a person, a scheduler or the end of the machine asked for it",
            do="run the same again: it goes on from there",
        ) from stop
    except (RuntimeError, httpx.HTTPError) as error:
        if failure := _failure_of_server(error):
            raise failure from error
        raise
    return report


def _failure_of_server(error: RuntimeError | httpx.HTTPError) -> PodsquadError | None:
    """Return what an error that Prefect raised says of its server; None where it says nothing of it."""
    if isinstance(error, RuntimeError):
        if not any(words in str(error) for words in _NO_SERVER):
            return None
        reason = str(error).splitlines()[0]
    else:
        reason = why_away(error)
    if (status := status_of(error)) in _REFUSED_STATUS:
        return SettingsError(
            f"Prefect's server refuses access (HTTP {status})",
            why="PREFECT_API_AUTH_STRING (of Prefect Cloud: PREFECT_API_KEY) is missing, or not what the server takes",
            do="set PREFECT_API_AUTH_STRING to the user:password that the server was started with, and run the same "
            "again",
        )
    if not reason:
        return None
    return TemporaryError(
        f"Prefect's server cannot be reached: {reason}",
        why="it is down or not well, PREFECT_API_URL is wrong, or a temporary one could not start in time",
        do="check PREFECT_API_URL (without it a temporary server is started), and run the same again",
    )


def _canary_report(parameters: dict[str, Any]) -> dict[str, Any]:
    # A drift fails the run, and calling the flow for its value would raise that as an error.
    report = canary(**parameters, return_state=True).result(raise_on_failure=False)
    if isinstance(report, BaseException):
        raise report
    found: dict[str, Any] = report
    return found


def keep_interrupts_from_server() -> None:
    """Let a temporary server, if one is started, survive the Ctrl-C that ends this process.

    It reaches every process of the terminal. With its server gone Prefect would try for more than a minute to tell it
    of the end. The end of this process stops the server by SIGTERM.
    """
    if PREFECT_API_URL.value():
        return
    from prefect.server.api.server import SubprocessASGIServer

    class Server(SubprocessASGIServer):  # type: ignore[misc]
        def _run_uvicorn_command(self) -> Any:
            # A new program keeps its parent's mask, and uvicorn does not change it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return super()._run_uvicorn_command()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    Server()  # the class keeps its one instance, and Prefect takes that
