"""A copy of the checkout with a server and a worker of its own, started as people start them."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from podsquad.processes import ProcessRecord, read_record

HOME = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600.0  # for anything: a busy machine is no reason to fail
# As the runbook says, by the stamps of the server: the end of a run, after it or after the silence that tells it; and
# that nobody takes one, after it was due.
TOLD_WITHIN_SECONDS = 30.0
NOBODY_WITHIN_SECONDS = 60.0
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

# A flow whose one task runs a runtime that saves when it is stopped, and is done at once when it finds what it saved;
# and one that is spoken to once, and then speaks in every way that a library does.
WAITS = """
import sys
import warnings
from pathlib import Path
from huggingface_hub.utils import tqdm
from prefect import flow, task
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job

@task
def wait(folder):
    def on_event(event):
        print(event, flush=True)
        if event.get("message") == "ready":
            Path(folder, "begun").write_text("yes\\n")  # a named pipe: the test waits at its other end

    run_job(Job("train", {}, folder, folder), "torch", python=Path(folder, "python"), on_event=on_event)

@flow(name="waits")
def waits(folder: str):
    wait(folder)

@flow(name="speaks")
def speaks(folder: str):
    Path(folder, "begun").write_text("yes\\n")
    Path(folder, "go-on").read_text()
    print("it is printed", flush=True)
    print("it is said as an error", file=sys.stderr, flush=True)
    warnings.warn("it is warned of")
    for _ in tqdm(range(3), desc="it is counted"):
        pass
"""
SAVES = """
import os, signal, sys, time
from pathlib import Path
from podsquad.runtimes.job import runtime_main
def train(job, events, stop):
    saved, mute, slow = (Path(job.work, name) for name in ("saved", "mute", "slow"))
    if saved.exists():
        return events.log("goes on from " + saved.read_text())
    if mute.exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    events.log("ready")
    while not stop:
        stop._event.wait(60)
    if slow.exists():
        time.sleep(float(slow.read_text()))
    saved.write_text(stop.reason)
    with open(Path(job.work, "ended"), "w") as pipe:
        pipe.write(stop.reason + "\\n")
    stop.raise_if_set("the checkpoint is saved")
sys.exit(runtime_main({"train": train}, sys.argv[1:]))
"""
WAITS_DEPLOYMENTS = """
name: waits
pull:
  - prefect.deployments.steps.set_working_directory: {directory: "{{ $PODSQUAD_CHECKOUT }}"}
deployments:
  - &first
    name: cancel
    entrypoint: flows/waits.py:waits
    work_pool: {name: pod}
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
  - <<: *first
    name: queue
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
  - <<: *first
    name: free
    concurrency_limit: null
  - <<: *first
    name: speaks
    entrypoint: flows/waits.py:speaks
    concurrency_limit: null
"""


def stamp(state: dict[str, Any]) -> float:
    """When a state began, in seconds of this machine's clock, which the server's is too."""
    return datetime.fromisoformat(state["timestamp"]).timestamp()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value of ``condition``, looked at again and again."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for this: {what}"
        pause.wait(0.1)
    return value


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a program; whatever happens in the block, after it the program goes on no more."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def processes() -> Iterator[tuple[int, bytes, bytes, Path]]:
    """Yield number, environment, command and working folder of each process that this user may look at."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            environ, command = ((folder / name).read_bytes() for name in ("environ", "cmdline"))
            yield int(folder.name), environ, command, (folder / "cwd").readlink()


@dataclass
class Waiting:
    """The folder of one run of a flow that waits."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("begun", "ended", "go-on"):
            os.mkfifo(self.folder / name)
        program, python = self.folder / "program.py", self.folder / "python"
        program.write_text(SAVES)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$3"\n')
        python.chmod(0o755)

        self._handles = {name: os.open(self.folder / name, os.O_RDWR | os.O_NONBLOCK) for name in ("begun", "ended")}

    def wait_until_begun(self) -> None:
        """Return when a runtime works, or the flow does that is spoken to."""
        self._line("begun")

    def wait_until_ended(self) -> str:
        """Return why the runtime saved and ended."""
        return self._line("ended")

    def let_go_on(self) -> None:
        """Let the flow that waits to be spoken to go on."""
        (self.folder / "go-on").write_text("now")

    def _line(self, name: str, seconds: float = PATIENCE_SECONDS) -> str:
        readable, _, _ = select.select([self._handles[name]], [], [], seconds)
        assert readable, f"the runtime has not {name} within {seconds:g} s"
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._handles[name], 1)
        return line.decode().strip()


class Place:
    """The copy, its programs, and its server's API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("podsquad", "flows", "tasks", "deployments"):
            shutil.copytree(HOME / name, folder / name, ignore=ignored)
        shutil.copy(HOME / "prefect.yaml", folder, follow_symlinks=False)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environ["PYTHONPATH"] = str(folder)
        # So that nothing waits longer than it must.
        self.environ |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_DEPLOYMENT_CONCURRENCY_SLOT_WAIT_SECONDS": "2"}

    def program(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def run(self, *arguments: str, **environ: str) -> str:
        """Run a program that must end well and return its output."""
        done = self.program(*arguments, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prefect(self, *arguments: str) -> str:
        """Run Prefect's own command as a person does who named this server."""
        return self.run("prefect", *arguments, PREFECT_API_URL=f"{self.url}/api")

    def up(self) -> str:
        return self.run("deployments.up", "--port", str(self.port))

    def ensure_up(self) -> None:
        """Let server and worker run. Where they do, or the worker alone is missing, nothing is registered again."""
        if not self._is_alive("server"):
            self.up()
        elif not self._is_alive("worker"):
            self.start_worker()

    def _is_alive(self, what: str) -> bool:
        found = read_record(self.folder / f".podsquad/{what}.json")
        return found is not None and found[0].is_alive()

    def start_worker(self, *options: str, **environ: str) -> None:
        """Start a worker for the server that runs, where there is none."""
        self._reap_worker()
        home = {"PREFECT_API_URL": f"{self.url}/api", "PREFECT_HOME": str(self.folder / ".podsquad/prefect")}
        with (self.folder / ".podsquad/logs/worker.log").open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "deployments.worker", *options],
                cwd=self.folder,
                env=self.environ | home | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        record = self.folder / ".podsquad/worker.json"
        is_working = ProcessRecord.of(self._worker.pid), {"is_working": True}
        wait_until("the worker works", lambda: read_record(record) == is_working)

    def _reap_worker(self) -> None:
        if self._worker:
            self._worker.wait()
            self._worker = None

    def stop(self, what: str) -> None:
        """Let the server or the worker end as a service restart does."""
        process = self.process(what)
        os.kill(process.pid, signal.SIGTERM)
        wait_until(f"the {what} has ended", lambda: not process.is_alive())

    def down(self) -> str:
        return self.run("deployments.up", "--down")

    def close(self) -> None:
        """Stop what runs, and hold that nothing is left of what was ever started here."""
        try:
            self.down()
            wait_until("nothing goes on here", lambda: not self._all_processes())
        finally:
            for process in self._all_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._reap_worker()

    def _all_processes(self) -> list[int]:
        """Server, worker, flows and runtimes: each was started in this folder, or its environment names it."""
        named = os.fsencode(self.folder)
        return [pid for pid, environ, _, cwd in processes() if named in environ or cwd.is_relative_to(self.folder)]

    def process(self, what: str) -> ProcessRecord:
        found = read_record(self.folder / f".podsquad/{what}.json")
        assert found is not None
        return found[0]

    def log(self, what: str) -> str:
        return (self.folder / f".podsquad/logs/{what}.log").read_text()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        def ask() -> httpx.Response | None:
            answer = httpx.request(method, f"{self.url}/api{path}", json=body, timeout=60)
            return None if answer.status_code == 503 else answer  # its database is busy; every client tries again

        answer: httpx.Response = wait_until(f"{method} {path} is answered", ask)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, dict[str, Any]]:
        found = self.call("POST", "/deployments/filter", {})
        assert len({each["name"] for each in found}) == len(found)
        return {each["name"]: each for each in found}

    def register_waits(self) -> None:
        (self.folder / "flows/waits.py").write_text(WAITS)
        (self.folder / "waits.yaml").write_text(WAITS_DEPLOYMENTS)
        self.prefect("--no-prompt", "deploy", "--all", "--prefect-file", "waits.yaml")

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        target = self.deployments()[deployment]["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.call("POST", f"/deployments/{target}/create_flow_run", body)["id"])

    def state(self, run_id: str) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", f"/flow_runs/{run_id}")["state"]
        return state

    def stamps(self, run_id: str) -> dict[str, float]:
        """When each state of a run began, by the states' names; of several of one name the last one counts."""
        states = self.call("GET", f"/flow_run_states/?flow_run_id={run_id}")
        return {each["name"]: stamp(each) for each in sorted(states, key=stamp)}

    def wait_for_state(self, run_id: str, names: Sequence[str] = FINAL) -> dict[str, Any]:
        """Return the run's state once its type or its name is one of those."""

        def look() -> dict[str, Any] | None:
            state = self.state(run_id)
            return state if state["type"] in names or state["name"] in names else None

        try:
            found: dict[str, Any] = wait_until(f"the run is {names}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.state(run_id)}\n{self.log('worker')[-3000:]}") from None
        return found

    def task_states(self, run_id: str) -> list[str]:
        found = self.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "ID_DESC"})
        return [each["state"]["type"] for each in found]

    def told(self, run_id: str) -> str:
        """Return the log on the run's page."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        lines: list[str] = []
        while page := self.call("POST", "/logs/filter", body | {"offset": len(lines)}):
            lines += [each["message"] for each in page]
        return "\n".join(lines)

    def retry(self, run_id: str) -> None:
        """Do what the UI's button does."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.call("POST", f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})

    def cancel(self, run_id: str) -> None:
        """Do what the UI's button does."""
        state = {"type": "CANCELLING"}
        self.call("POST", f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})

    def flow_pid(self, run_id: str) -> int:
        """The process of a run, by what its environment tells."""
        variable = f"PREFECT__FLOW_RUN_ID={run_id}".encode()
        for pid, environ, command, _ in processes():
            if variable in environ.split(b"\0") and b"prefect.engine" in command:
                return pid
        raise AssertionError("the run has no process")

    def waiting(self, name: str) -> Waiting:
        return Waiting(self.folder / name)
