"""``podsquad ask`` as a process: the loop on a terminal, a file, the page; what goes wrong is told in words."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podsquad.cli import main
from podsquad.command.ask import describe_model
from podsquad.evaluation.squad_metric import score_files
from tests.question_models import QUESTION, SHORT, roberta
from tests.test_question_file import write

__all__ = ["roberta"]

HOME = Path(__file__).resolve().parents[2]
SECONDS = 300.0
PATIENCE_SECONDS = 20.0  # of a person who pressed Ctrl-C
COMMAND = (sys.executable, "-m", "podsquad", "ask")
OURS = {name: value for name, value in os.environ.items() if not name.startswith("PODSQUAD_")}
ENVIRON = {**OURS, "PYTHONPATH": os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")])}


def call(folder: Path, *arguments: Any, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, env=ENVIRON, input=stdin, capture_output=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@contextlib.contextmanager
def running(folder: Path, *arguments: Any, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=folder, env=ENVIRON, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "no question was asked"),
        (("Who?", "--interactive"), "several ways of asking"),
        (("--serve", "--questions", "x"), "several ways of asking"),
        (("--serve", "--context", "x"), "a context was given beside"),
        (("--questions", "x", "--context-file", "x"), "a context was given beside"),
        (("Who?", "--predictions", "x"), "--predictions was given without --questions"),
        (("--interactive", "--port", "0"), "--port was given without --serve"),
        (("--serve", "--port", "65536"), "less than or equal to 65535"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
)
def test_ways_that_do_not_go_together(
    arguments: tuple[str, ...],
    what: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["ask", *arguments])
    assert ended.value.code == 64
    assert what in capfd.readouterr().err


def test_a_file_is_answered_with_place_score_and_excerpt_and_in_the_official_form(
    roberta: Path, tmp_path: Path
) -> None:
    rows = [("a-1", QUESTION, SHORT, ["London"]), ("b\x1b", "Who?", SHORT, ["Ada"]), ("c", "Who?", "", [])]
    file, official = write(tmp_path / "q.json", rows), tmp_path / "predictions.json"
    code, out, err = call(tmp_path, "--questions", file, "--model", roberta, "--json", "--predictions", official)
    told = json.loads(out)
    assert (code, err) == (0, "")
    first, second, none = told["answers"]
    assert [each["id"] for each in told["answers"]] == ["a-1", "b\x1b", "c"]
    assert (first["question"], second["question"]) == (QUESTION, "Who?")
    for each in (first, second):
        assert each["text"] == SHORT[each["char_start"] : each["char_end"]]
        excerpt = each["excerpt"]
        assert excerpt["text"] == each["text"]
        assert SHORT[excerpt["char_start"] :].startswith(excerpt["before"] + excerpt["text"] + excerpt["after"])
        assert 0.0 < each["probability"] <= 1.0
    alone = json.loads(call(tmp_path, QUESTION, "--context", SHORT, "--model", roberta, "--json")[1])
    assert first == {"id": "a-1", "question": QUESTION} | alone | {
        "probability": pytest.approx(alone["probability"]),
        "score": pytest.approx(alone["score"], rel=1e-4),
    }
    assert (none["text"], none["char_start"], none["score"], none["excerpt"]) == ("", -1, None, None)
    scored = score_files(file, official)
    assert {name: scored[name] for name in ("exact_match", "f1", "num_questions")} | {"num_questions": 2} == told[
        "scores"
    ]
    assert json.loads(official.read_text()) == {"a-1": first["text"], "b\x1b": second["text"], "c": "empty"}


def test_a_file_is_answered_as_a_table(roberta: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "q.json", [("a-1", QUESTION, SHORT, ["London"]), ("b\x1b", "Who?", SHORT, ["Ada"])])
    code, out, err = call(tmp_path, "--questions", file, "--model", roberta)
    assert (code, err) == (0, "")
    head, first, second, _, scores = out.splitlines()
    assert head.split() == ["id", "question", "answer", "characters", "probability", "score", "in", "the", "context"]
    assert first.startswith(f"a-1  {QUESTION}")
    assert first.count(">>") == first.count("<<") == 1
    assert "\x1b" not in second
    assert scores.startswith("exact match ")
    assert scores.endswith(" on 2 questions")
    code, out, _ = call(
        tmp_path, "--questions", write(tmp_path / "q.json", [("c", "Who?", "", [])]), "--model", roberta
    )
    assert (code, out.splitlines()[1].split()) == (0, ["c", "Who?", "(no", "answer", "found)", "-", "-", "-", "-"])
    assert call(tmp_path, "--questions", tmp_path / "none", "--model", roberta)[0] == 66
    code, _, err = call(tmp_path, "--questions", file, "--model", roberta, "--predictions", tmp_path / "no/such/place")
    assert (code, "Traceback" in err) == (73, False)


def test_lines_can_be_piped_into_the_loop(roberta: Path, tmp_path: Path) -> None:
    lines = f"{QUESTION}\n".encode() + b"\xff?\n" + f":context\n{SHORT}\n\n{QUESTION}\n".encode()
    code, out, err = call(tmp_path, "--interactive", "--context", SHORT, "--model", roberta, "--json", stdin=lines)
    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, len(answers)) == (0, 2)
    assert answers[0] == answers[1]
    assert answers[0]["text"] == SHORT[answers[0]["char_start"] : answers[0]["char_end"]]
    excerpt = answers[0]["excerpt"]
    assert excerpt["text"] == answers[0]["text"]
    assert SHORT[excerpt["char_start"] :].startswith(excerpt["before"] + excerpt["text"] + excerpt["after"])
    assert err.splitlines() == [
        "error: the question is not Unicode text: surrogates not allowed at character 0",
        "  why: half of a pair of surrogates, or bytes that are no text, came by the command line or a file",
        "  do:  give it as UTF-8",
    ]


def control_terminal() -> None:
    """Make standard input the terminal of this session, so that its Ctrl-C arrives as a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("end", [b"\x04", b"\x03", b":quit\n"], ids=["Ctrl-D", "Ctrl-C", "quit"])
def test_the_loop_on_a_terminal_ends_cleanly(roberta: Path, tmp_path: Path, end: bytes) -> None:
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read_until(text: str, times: int = 1) -> None:
        until = time.monotonic() + SECONDS
        while seen.count(text.encode()) < times and time.monotonic() < until:
            if select.select([ours], [], [], 1.0)[0]:
                try:
                    seen.extend(os.read(ours, 65536))
                except OSError:  # the other side is closed
                    break
        assert seen.count(text.encode()) >= times, seen.decode(errors="replace")

    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    options = {"start_new_session": True, "preexec_fn": control_terminal}
    with running(tmp_path, "--interactive", "--model", roberta, **terminal, **options) as child:
        os.close(theirs)
        read_until("text> ")
        os.write(ours, SHORT.encode() + b"\n\n")
        read_until("question> ")
        os.write(ours, QUESTION.encode() + b"\n")
        read_until("probability")
        read_until("question> ", 2)
        os.write(ours, end)
        if end == b"\x03":
            # Python's input() is deaf to a signal between its prompt and its wait; a person presses again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE_SECONDS)
            if child.poll() is None:
                os.write(ours, end)
        assert child.wait(SECONDS) == 0
    os.close(ours)
    assert b"Traceback" not in seen
    assert b"stopped" not in seen


def test_the_page_is_served_until_it_is_stopped(roberta: Path, tmp_path: Path) -> None:
    with running(
        tmp_path, "--serve", "--model", roberta, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        text = b""
        while b"}" not in text:
            line = child.stdout.readline()
            assert line, child.stderr.read().decode()
            text += line
        port = int(json.loads(text)["url"].rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        body = json.dumps({"question": QUESTION, "context": "😀 " + SHORT})
        connection.request("POST", "/answer", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        said = json.loads(reply.read())
        connection.close()
        assert reply.status == 200
        assert said["before"] + said["text"] + said["after"] == "😀 " + SHORT
        assert len(said["before"]) == said["char_start"]
        child.send_signal(signal.SIGINT)
        assert child.wait(SECONDS) == 0
        assert child.stderr.read().strip() == b""


def test_a_model_is_described_by_its_version_and_scores(tmp_path: Path) -> None:
    version = tmp_path / "demo-reader/versions/0123456789ab"
    version.mkdir(parents=True)
    (tmp_path / "demo-reader/current").symlink_to("versions/0123456789ab")
    scores = {"exact_match": 97.333, "f1": 98.0, "num_questions": 10570}
    told = "demo-reader/0123456789ab · exact match 97.33, F1 98.00 on 10,570 questions"
    assert describe_model(tmp_path / "demo-reader/current", scores) == told
    assert describe_model(version, {"exact_match": "x", "f1": None}) == "demo-reader/0123456789ab"
