"""The protocol of a runtime: the job file, the events, the exit code, and when to stop."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from podsquad.errors import DataError, SettingsError, StoppedError
from podsquad.runtimes.job import VERBS, Events, Job, StopRequest

JOB = Job("train", {"features": "/f"}, "/out", "/work", {"training": {"epochs": 2}})


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    JOB.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == JOB


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read the job file"),
        ("", "cannot read the job file"),
        ("[]", "cannot read the job file"),
        ('{"verb": "train"}', "cannot read the job file"),
        ('{"verb": "train", "inputs": {}, "output": "", "work": "", "more": 1}', "cannot read the job file"),
        ('{"verb": "dance", "inputs": {}, "output": "", "work": ""}', "unknown verb 'dance'"),
    ],
    ids=["absent", "empty", "list", "too-little", "too-much", "verb"],
)
def test_what_is_no_job_is_a_data_error(text: str | None, told: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "job.json").write_text(text)
    with pytest.raises(DataError, match=told):
        Job.read(tmp_path / "job.json")


def sent(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_one_json_line() -> None:
    stream = io.StringIO()
    events = Events(stream)
    events.log("two\nlines of é")
    events.log("hot", "warning")
    events.progress(1, 9, loss=0.5, learning_rate=None)
    events.checkpoint(100)
    events.decision("program", "eager", "a CPU")
    events.failure(SettingsError("what", why="why", do="do"))
    assert sent(stream) == [
        {"event": "log", "level": "info", "message": "two\nlines of é"},
        {"event": "log", "level": "warning", "message": "hot"},
        {"event": "progress", "step": 1, "total_steps": 9, "loss": 0.5},
        {"event": "checkpoint", "step": 100},
        {"event": "decision", "name": "program", "value": "eager", "reason": "a CPU"},
        {"event": "failure", "error": "SettingsError", "what": "what", "why": "why", "do": "do"},
    ]


def test_progress_is_thinned_but_the_first_and_last_step_pass() -> None:
    stream = io.StringIO()
    events = Events(stream, progress_interval_seconds=1e9)
    for step in range(10):
        events.progress(step, 9)
    assert [event["step"] for event in sent(stream)] == [0, 1, 9]
    stream = io.StringIO()
    events = Events(stream, progress_interval_seconds=0.0)
    for step in range(10):
        events.progress(step, 9)
    assert len(sent(stream)) == 10


def test_a_stop_keeps_its_first_reason() -> None:
    stop = StopRequest()
    assert not stop
    stop.raise_if_set("nothing")
    stop.set("SIGTERM received")
    stop.set("something later")
    assert stop
    with pytest.raises(StoppedError, match=r"^SIGTERM received; step 7 is saved\n") as caught:
        stop.raise_if_set("step 7 is saved")
    assert caught.value.exit_code == 75


RUNTIME = """
import errno, os, signal, sys, time
from podsquad.errors import DataError, SettingsError
from podsquad.runtimes import job as protocol
from podsquad.runtimes.job import runtime_main

def fail(error):
    raise error

def wait_for_stop(job, events, stop):
    events.log("works")
    deadline = time.monotonic() + 60
    while not stop and time.monotonic() < deadline:
        pass
    events.progress(1, 9)
    open(os.path.join(job.work, "checkpoint"), "w").close()
    events.checkpoint(1)
    stop.raise_if_set("step 1 is saved")

def hang(job, events, stop):
    protocol.ORPHAN_SECONDS = 1
    events.log("works")
    time.sleep(3600)

def noisy(job, events, stop):
    print("a library prints")
    os.write(1, b"C code prints\\n")
    os.system("echo a child prints")
    events.log(job.inputs["features"])

BEHAVIOURS = {
    "noisy": noisy,
    "stop": wait_for_stop,
    "hang": hang,
    "settings": lambda *_: fail(SettingsError("bad", why="because", do="mend it")),
    "full": lambda *_: fail(OSError(errno.ENOSPC, "No space left on device", "/x")),
    "library": lambda *_: fail(OSError("cannot connect")),
    "memory": lambda *_: fail(MemoryError()),
    "bug": lambda *_: fail(ZeroDivisionError("a / b")),
    "name": lambda *_: fail(DataError("cannot read " + os.fsdecode(b"caf\\xe9 \\xc3\\xa9.json"))),
}
verbs = {"train": BEHAVIOURS[sys.argv[1]]}
sys.exit(runtime_main(verbs, sys.argv[2:]))
"""


class Child:
    """A runtime with one behaviour; its standard input is open until it is closed."""

    def __init__(
        self,
        folder: Path,
        behaviour: str,
        arguments: list[str] | None = None,
        verb: str = "train",
        stderr: IO[str] | None = None,
    ) -> None:
        job_file = folder / "job.json"
        Job(verb, {"features": "/features"}, str(folder), str(folder)).write(job_file)
        command = [sys.executable, "-c", RUNTIME, behaviour, *([str(job_file)] if arguments is None else arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr or pipe, text=True)

    def event(self) -> dict[str, Any]:
        assert self.process.stdout
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        return event

    def finish(self) -> tuple[int, list[dict[str, Any]], str]:
        """Return exit code, the remaining events and standard error; standard input stays open until the end."""
        assert self.process.stdout
        events = [json.loads(line) for line in self.process.stdout]
        errors = self.process.stderr.read() if self.process.stderr else ""
        return self.process.wait(timeout=60), events, errors


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.process.kill()
        for pipe in (child.process.stdin, child.process.stdout, child.process.stderr):
            if pipe and not pipe.closed:
                pipe.close()
        child.process.wait()


def test_events_alone_are_on_standard_output(children: list[Child], tmp_path: Path) -> None:
    children.append(Child(tmp_path, "noisy"))
    code, events, errors = children[0].finish()
    assert code == 0
    assert events == [{"event": "log", "level": "info", "message": "/features"}]
    assert sorted(errors.splitlines()) == ["C code prints", "a child prints", "a library prints"]


@pytest.mark.parametrize(
    ("behaviour", "code", "kind", "what", "has_traceback"),
    [
        ("settings", 64, "SettingsError", "bad", False),
        ("full", 74, "DiskFullError", "no space left for /x while running the job", True),
        ("library", 70, "InternalError", "OSError while running the job: cannot connect", True),
        ("memory", 70, "InternalError", "out of memory", True),
        ("bug", 70, "InternalError", "ZeroDivisionError: a / b", True),
        ("name", 65, "DataError", "cannot read caf\udce9 \xe9.json", False),
    ],
)
def test_a_failure_is_told_and_ends_with_its_exit_code(
    behaviour: str, code: int, kind: str, what: str, has_traceback: bool, children: list[Child], tmp_path: Path
) -> None:
    children.append(Child(tmp_path, behaviour))
    exit_code, events, errors = children[0].finish()
    assert (exit_code, events[-1]["event"], events[-1]["error"], events[-1]["what"]) == (code, "failure", kind, what)
    assert ("Traceback" in errors) == has_traceback


def test_a_disk_too_full_for_the_traceback_still_lets_the_failure_be_told(
    children: list[Child], tmp_path: Path
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        children.append(Child(tmp_path, "full", stderr=full))
        exit_code, events, _ = children[0].finish()
    assert exit_code == 74
    assert events[-1]["error"] == "DiskFullError"


@pytest.mark.parametrize(
    ("arguments", "verb", "code", "told"),
    [
        ([], "train", 70, "a runtime takes one argument, the job file; got 0"),
        (["a", "b"], "train", 70, "a runtime takes one argument, the job file; got 2"),
        (["absent.json"], "train", 65, "cannot read the job file absent.json"),
        (None, "predict", 70, "KeyError: 'predict'"),
    ],
    ids=["none", "two", "absent", "verb-that-it-lacks"],
)
def test_a_wrong_order_is_told_too(
    arguments: list[str] | None, verb: str, code: int, told: str, children: list[Child], tmp_path: Path
) -> None:
    assert verb in VERBS
    children.append(Child(tmp_path, "noisy", arguments, verb))
    exit_code, events, _ = children[0].finish()
    assert exit_code == code
    assert events[-1]["what"].startswith(told)


@pytest.mark.parametrize("way", ["sigterm", "end-of-input", "parent-gone"])
def test_asked_to_stop_it_saves_a_checkpoint_and_ends_with_75(way: str, children: list[Child], tmp_path: Path) -> None:
    child = Child(tmp_path, "stop")
    children.append(child)
    assert child.event()["message"] == "works"
    child.process.send_signal(signal.SIGINT)  # Ctrl-C reaches the whole terminal, and is the stage's to answer
    assert child.process.stdin
    assert child.process.stdout
    if way == "sigterm":
        child.process.send_signal(signal.SIGTERM)
        reason = "SIGTERM received"
    else:
        if way == "parent-gone":  # nobody reads the events any more either
            child.process.stdout.close()
        child.process.stdin.close()
        reason = "the process that started this one is gone"
    if way == "parent-gone":
        assert child.process.wait(timeout=60) == 75
        assert child.process.stderr
        assert child.process.stderr.read() == ""
    else:
        code, events, errors = child.finish()
        assert code == 75
        assert [event["event"] for event in events] == ["progress", "checkpoint", "failure"]
        assert events[-1]["error"] == "StoppedError"
        assert events[-1]["what"] == f"{reason}; step 1 is saved"
        assert errors == ""
    assert (tmp_path / "checkpoint").exists()


def test_an_orphan_that_hangs_is_killed_by_the_kernel(children: list[Child], tmp_path: Path) -> None:
    child = Child(tmp_path, "hang")
    children.append(child)
    assert child.event()["message"] == "works"
    assert child.process.stdin
    child.process.stdin.close()
    assert child.process.wait(timeout=60) == -signal.SIGALRM
