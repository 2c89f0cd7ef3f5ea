"""Which processes are taken for a flow's. What is done about it: test_worker.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.sweep import flow_processes, sweep

RUN = "2b0c3d8e-5c0f-4f7e-9f0e-1d2c3b4a5f60"


def process(proc: Path, pid: str, command: str, **environ: str) -> None:
    folder = proc / pid
    folder.mkdir()
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (folder / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in environ.items()))


@pytest.mark.parametrize(
    ("command", "is_flow"),
    [
        ("python -m prefect.engine", True),
        ("python -m prefect.flow_engine", True),
        ("python -m prefect.runner._workspace_supervisor /tmp/x", True),
        ("prefect flow-run execute", True),
        ("python -m podsquad.runtimes.torch job.json", False),
        ("prefect flow-run ls", False),
    ],
)
def test_a_flow_s_process_is_prefect_s_own_with_a_run_s_id(tmp_path: Path, command: str, is_flow: bool) -> None:
    process(tmp_path, "17", command, A="b", PREFECT__FLOW_RUN_ID=RUN)
    process(tmp_path, "18", command, A="b")
    (tmp_path / "19").mkdir()  # gone while it is looked at
    (tmp_path / "self").mkdir()
    assert list(flow_processes(tmp_path)) == ([(17, RUN)] if is_flow else [])


def test_a_system_without_environments_is_left_to_the_heartbeats(tmp_path: Path) -> None:
    told: list[str] = []
    assert sweep("host", "pod", proc=tmp_path, log=told.append) == {}
    assert "heartbeats" in told[0]
