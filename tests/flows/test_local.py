"""The flow in this process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local import keep_interrupts_from_server


def test_a_temporary_server_does_not_hear_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    look = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def start(server: Any) -> str:
        return subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(SubprocessASGIServer, "_instances", {})
    monkeypatch.setattr(SubprocessASGIServer, "_run_uvicorn_command", start)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        keep_interrupts_from_server()
    assert SubprocessASGIServer()._run_uvicorn_command() == "True"
    assert start(None) == "False"  # this process and its other children do
