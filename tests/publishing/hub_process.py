"""Publishers as processes of their own, to be killed; as ``python -m tests.publishing.hub_process`` their parent.

The parent imports everything once and forks a publisher for each order, a JSON line on its standard input: ``do``
(publish or rollback), ``repository``, ``work``, ``key``, ``files``, ``to``. It answers with the publisher's pid, and
when that has ended with its status. Endpoint and token come from HF_ENDPOINT and HF_TOKEN, as in a real run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

KILLED = -signal.SIGKILL
_HOME = Path(__file__).resolve().parents[2]


class Publishers:
    """The parent, seen from a test."""

    def __init__(self, endpoint: str, token: str, folder: Path) -> None:
        environ = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(folder / "hf-home")}
        environ |= {"PYTHONPATH": str(_HOME)}
        self._output = (folder / "publishers.log").open("ab")
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.publishing.hub_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env=environ,
            text=True,
        )

    def __enter__(self) -> Publishers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.close()
        self._parent.wait(60)
        self._parent.stdout.close()
        self._output.close()

    def start(self, order: Mapping[str, Any]) -> int:
        """Start a publisher; return its pid."""
        assert self._parent.stdin
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return self._read()

    def end(self) -> int:
        """Wait for the publisher; return its exit status, or minus the signal."""
        return self._read()

    def run(self, order: Mapping[str, Any]) -> int:
        self.start(order)
        return self.end()

    def _read(self) -> int:
        assert self._parent.stdout
        return int(self._parent.stdout.readline())


def _obey(order: dict[str, Any]) -> None:
    from podsquad.publishing.hub import HubTarget
    from podsquad.publishing.hub_client import Hub

    target = HubTarget(Hub(order["repository"]), Path(order["work"]))
    if order["do"] == "publish":
        files = {name: Path(path) for name, path in order["files"].items()}
        target.publish(order["key"], files, lambda folder: None)
    else:
        target.rollback(order["to"], "the reason", lambda folder: None)


def _main() -> None:
    import huggingface_hub.hf_api  # noqa: F401, before the forks

    import podsquad.publishing.hub  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _obey(json.loads(line))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _main()
