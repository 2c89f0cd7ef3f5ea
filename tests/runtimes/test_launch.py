"""Starting, following and stopping a runtime, with small programs in its place that speak the protocol, or break it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import TOKEN_VARIABLES, DataError, InternalError, SettingsError, StoppedError, TemporaryError
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
from tests.runtimes.bench import Bench
from tests.runtimes.programs import OBEDIENT, RAW, make_interpreter

HOME = Path(__file__).resolve().parents[2]


class Holders:
    """A named pipe: processes that hold its writing end are alive."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait_until_gone(self) -> None:
        """Return when no process holds it any more."""
        os.set_blocking(self._handle, True)
        assert os.read(self._handle, 1) == b""

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture
def holders(tmp_path: Path) -> Any:
    pipe = Holders(tmp_path / "holders")
    yield pipe
    pipe.close()


def test_passes_events_on_in_order_and_returns(bench: Bench) -> None:
    bench.run(RAW + "for n in range(300): say(event='log', n=n)")
    assert [event["n"] for event in bench.events] == list(range(300))


def test_gives_the_runtime_its_job(bench: Bench) -> None:
    bench.run(RAW + "say(event='log', got=job, home=os.environ['PYTHONPATH'].split(os.pathsep)[0])", a=["ü", None])
    (event,) = bench.events
    assert event["got"] == {
        "verb": "train",
        "inputs": {},
        "output": str(bench.work),
        "work": str(bench.work),
        "settings": {"a": ["ü", None]},
    }
    assert [path.name for path in Path(event["home"]).iterdir()] == ["podsquad"]
    assert (Path(event["home"]) / "podsquad").resolve() == HOME / "podsquad"


def test_what_lies_beside_the_package_is_not_on_the_runtime_s_path(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where podsquad is installed, those are the libraries of another interpreter.
    monkeypatch.setenv("PYTHONPATH", "/of/the/sdk")
    bench.run(RAW + "say(event='log', path=os.environ['PYTHONPATH'].split(os.pathsep))")
    path = bench.events[0]["path"]
    assert path[1:] == ["/of/the/sdk"]
    assert not (Path(path[0]) / "tests").exists()
    bench.run(RAW + "say(event='log', again=True)")
    assert bench.events[-1]["again"]


def test_a_launcher_stands_before_the_program_and_may_mark_its_lines(tmp_path: Path) -> None:
    launcher = tmp_path / "poprun"
    launcher.write_text('#!/bin/sh\necho "+ topology"\nshift 2\n"$@" | sed "s/^/[1,0]<stdout>:/"\n')
    launcher.chmod(0o755)
    events: list[Mapping[str, Any]] = []
    work = tmp_path / "work"
    work.mkdir()
    run_job(
        Job("train", {}, str(work), str(work), {}),
        "ipu",
        python=make_interpreter(tmp_path, RAW + "say(event='log', message='from the program')"),
        launcher=[str(launcher), "--num-instances", "2"],
        on_event=events.append,
    )
    assert events == [
        {"event": "log", "level": "debug", "message": "+ topology"},
        {"event": "log", "message": "from the program"},
    ]


def test_a_launcher_that_is_not_there(tmp_path: Path) -> None:
    job = Job("train", {}, str(tmp_path), str(tmp_path), {})
    with pytest.raises(SettingsError, match="cannot start the runtime ipu with poprun-is-not-here") as caught:
        run_job(job, "ipu", launcher=["poprun-is-not-here"], on_event=lambda event: None)
    assert "Poplar SDK" in caught.value.do


def test_events_of_any_text_and_of_nearly_a_megabyte_pass(bench: Bench) -> None:
    bench.run(RAW + "say(event='log', message='ü 漢字 \\U0001f600 \\u2028 \\n' * 40_000)")
    assert bench.events[0]["message"] == "ü 漢字 \U0001f600 \u2028 \n" * 40_000


def test_events_in_pieces_are_put_together(bench: Bench) -> None:
    pieces = (b'{"event": "l', b'og"}\n{"event":', b' "two"}\n')
    parts = f"for part in {pieces}: os.write(1, part); time.sleep(0.02)"
    bench.run(RAW + parts)
    assert [event["event"] for event in bench.events] == ["log", "two"]


@pytest.mark.parametrize("exit_code", [65, 0, 1])
def test_a_failure_becomes_the_named_error(bench: Bench, exit_code: int) -> None:
    failure = "say(event='failure', error='DataError', what='no ü', why='because', do='repair')"
    with pytest.raises(DataError) as caught:
        bench.run(f"{RAW}say(event='log')\n{failure}\nsys.exit({exit_code})")
    assert (caught.value.what, caught.value.why, caught.value.do) == ("no ü", "because", "repair")
    assert [event["event"] for event in bench.events] == ["log"]


def test_a_failure_of_unknown_name_is_an_internal_error(bench: Bench) -> None:
    with pytest.raises(InternalError, match=r"^broken$"):
        bench.run(RAW + "say(event='failure', error='SystemExit', what='broken')")


def test_a_runtime_that_does_not_end_after_its_failure_is_ended(bench: Bench) -> None:
    with pytest.raises(DataError, match="no ü"):
        bench.run(
            RAW + "say(event='failure', error='DataError', what='no ü')\nos.close(1)\ntime.sleep(600)",
            stop_grace_seconds=0.1,
        )


def test_an_exit_code_without_a_reason_shows_the_end_of_standard_error(bench: Bench) -> None:
    noise = "for n in range(40): print('line', n, file=sys.stderr)"
    with pytest.raises(InternalError) as caught:
        bench.run(f"{RAW}{noise}\nsys.stderr.buffer.write(b'\\xff')\nsys.exit(7)")
    assert "exit code 7" in caught.value.what
    assert "train" in caught.value.what
    assert caught.value.why.splitlines() == [*(f"line {n}" for n in range(26, 40)), "�"]
    assert str(bench.work / "train.stderr.log") in caught.value.do
    assert (bench.work / "train.stderr.log").read_bytes().startswith(b"line 0\n")


def test_a_silent_exit_code_says_so(bench: Bench) -> None:
    with pytest.raises(InternalError, match="wrote nothing to its standard error"):
        bench.run(RAW + "sys.exit(75)")


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, "out-of-memory"), (signal.SIGTERM, "signal SIGTERM"), (signal.SIGSEGV, "signal SIGSEGV")],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_killed_runtime_is_a_temporary_error(bench: Bench, number: signal.Signals, cause: str) -> None:
    # Its last event is cut short: that is the kill's doing, not a broken promise.
    source = "say(event='log')\nos.write(1, b'{\"event\": \"lo')\nprint('last words', file=sys.stderr, flush=True)\n"
    with pytest.raises(TemporaryError) as caught:
        bench.run(f"{RAW}{source}os.kill(os.getpid(), {int(number)})")
    assert number.name in caught.value.what
    assert cause in caught.value.why
    assert "last words" in caught.value.why
    assert [event["event"] for event in bench.events] == ["log"]


@pytest.mark.parametrize(
    "then",
    ["", "os.close(1)\n", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "os.write(1, b'{')\n"],
    ids=["silent", "stream closed", "deaf", "half an event"],
)
def test_a_runtime_without_a_sign_of_life_is_stopped(bench: Bench, holders: Holders, then: str) -> None:
    hold = f"pipe = open({str(holders.path)!r}, 'wb')\nsay(event='log')\n"
    with pytest.raises(TemporaryError, match=r"no sign of life for 0\.3 seconds"):
        bench.run(f"{RAW}{hold}{then}time.sleep(600)", hang_seconds=0.3, stop_grace_seconds=0.1)
    holders.wait_until_gone()


def test_a_slow_handler_is_not_taken_for_a_hanging_runtime(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    bench.run(
        f"{RAW}say(event='log')\ntime.sleep(0.7)\nopen({str(gate)!r}, 'w').close()\nsay(event='log')",
        lambda event: gate.read_text() if len(bench.events) == 1 else None,
        hang_seconds=0.5,
    )
    assert len(bench.events) == 2


@pytest.mark.parametrize(
    "line",
    ["hello", "[1]", '{\\"kind\\": 1}', '{\\"event\\": 1}', "\\xff\\xfe", "", "[" * 100_000, "x" * 1_100_000],
    ids=["text", "list", "no event", "event not text", "not utf-8", "empty", "deep", "huge"],
)
def test_garbage_on_standard_output_is_an_internal_error(bench: Bench, holders: Holders, line: str) -> None:
    hold = f"pipe = open({str(holders.path)!r}, 'wb')\n"
    short = f'os.write(1, b"{line}" + b"\\n")\n'
    write = short if len(line) < 1000 else f"print({line[:1]!r} * {len(line)}, flush=True)\n"
    with pytest.raises(InternalError, match="no event"):
        bench.run(f"{RAW}{hold}{write}time.sleep(600)", stop_grace_seconds=0.1)
    holders.wait_until_gone()


@pytest.mark.parametrize("levels", [600, 900])
def test_an_event_that_is_nested_too_deep_is_an_internal_error(bench: Bench, levels: int) -> None:
    with pytest.raises(InternalError, match="no event"):
        bench.run(f"{RAW}print('{{\"event\": \"log\", \"value\": ' + '[' * {levels} + ']' * {levels} + '}}')")


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_while_it_works_lets_the_runtime_save(
    bench: Bench, holders: Holders, kind: type[BaseException]
) -> None:
    def fail(event: Mapping[str, Any]) -> None:
        raise kind("in the handler")

    with pytest.raises(kind, match="in the handler"):
        bench.run(OBEDIENT, fail, holder=str(holders.path))
    assert (bench.work / "saved").read_text() == "SIGTERM received"
    holders.wait_until_gone()  # what the runtime started is gone too


def test_a_runtime_that_is_stopped_may_say_more_than_a_pipe_holds(bench: Bench) -> None:
    def fail(event: Mapping[str, Any]) -> None:
        raise ValueError("in the handler")

    with pytest.raises(ValueError, match="in the handler"):
        bench.run(OBEDIENT, fail, chatter=500)
    assert (bench.work / "saved").exists()


def test_a_runtime_that_does_not_save_in_time_is_killed(bench: Bench, holders: Holders) -> None:
    deaf = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\npipe = open({str(holders.path)!r}, 'wb')\n"

    def fail(event: Mapping[str, Any]) -> None:
        raise ValueError("in the handler")

    with pytest.raises(ValueError, match="in the handler"):
        bench.run(f"{RAW}{deaf}say(event='log')\ntime.sleep(600)", fail, stop_grace_seconds=0.1)
    holders.wait_until_gone()


def test_a_runtime_that_was_stopped_by_another_ends_with_its_own_error(bench: Bench) -> None:
    def stop(event: Mapping[str, Any]) -> None:
        if event.get("message", "").isdigit():
            os.kill(int(event["message"]), signal.SIGTERM)

    with pytest.raises(StoppedError, match="SIGTERM received; the checkpoint is saved"):
        bench.run(OBEDIENT.replace('"ready"', "str(__import__('os').getpid())"), stop)


def test_what_outlives_the_runtime_ends_with_it(bench: Bench, holders: Holders) -> None:
    # It holds the event stream too; the run must not wait for it.
    leave = """
import subprocess
subprocess.Popen(['sleep', '600'], stderr=open(settings['holder'], 'wb'))
say(event='log')
"""
    bench.run(RAW + leave, holder=str(holders.path))
    assert len(bench.events) == 1
    holders.wait_until_gone()


def test_no_token_is_in_what_a_runtime_says_or_leaves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-no-known-form")
    token = "os.environ['HF_TOKEN']"
    bench.run(
        f"{RAW}say(event='log', message='uses ' + {token})\n"
        f"say(event='decision', name='token', value=[{{'is': {token}}}, 3], reason='of ' + {token}, number=3)\n"
        f"sys.stderr.buffer.write(b'\\xff ' + {token}.encode() + b' and more')"
    )
    assert bench.events == [
        {"event": "log", "message": "uses ***"},
        {"event": "decision", "name": "token", "value": [{"is": "***"}, 3], "reason": "of ***", "number": 3},
    ]
    assert (bench.work / "train.stderr.log").read_bytes() == b"\xff *** and more"


@pytest.mark.parametrize("variable", TOKEN_VARIABLES)
@pytest.mark.parametrize(("verb", "is_given"), [("train", True), ("compile", True), ("predict", False)])
def test_a_prediction_is_given_no_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, variable: str, verb: str, is_given: bool
) -> None:
    monkeypatch.setenv(variable, "a-token-of-no-known-form")
    bench.run(RAW + f"say(event='log', is_given={variable!r} in os.environ)", verb=verb)
    assert bench.events == [{"event": "log", "is_given": is_given}]


def test_words_that_are_no_text_reach_the_log_as_escapes(bench: Bench) -> None:
    bench.run(RAW + """os.write(1, b'{"event": "log", "message": "caf\\\\udce9"}\\n')""")
    assert bench.events == [{"event": "log", "message": "caf\\udce9"}]


def test_the_runtime_saves_and_ends_when_its_parent_is_killed(bench: Bench, tmp_path: Path) -> None:
    end = tmp_path / "end"
    os.mkfifo(end)
    python = make_interpreter(tmp_path, OBEDIENT, then=f'echo "$?" > "{end}"')
    source = f"""
import os, signal
from pathlib import Path
from podsquad.runtimes.job import Job
from podsquad.runtimes.launch import run_job
job = Job(**{json.loads(json.dumps(vars(bench.job())))!r})
run_job(job, "torch", python=Path({str(python)!r}), on_event=lambda event: os.kill(os.getpid(), signal.SIGKILL))
"""
    parent = subprocess.run([sys.executable, "-c", source], env={**os.environ, "PYTHONPATH": str(HOME)}, check=False)
    assert parent.returncode == -signal.SIGKILL
    assert end.read_text().strip() == "75"
    assert (bench.work / "saved").read_text() == "the process that started this one is gone"
