"""The loop: texts and questions in, answers out, and an error or the end of the input never a traceback."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from podsquad.command.ask_loop import AskLoop
from podsquad.errors import SettingsError
from podsquad.question import Answer


class Told(list[tuple[str, str, str]]):
    """(question, answer, context) as the loop tells them."""

    def tell(self, question: str, answer: Answer, context: str) -> None:
        self.append((question, answer.text, context))


def first_word(question: str, context: str) -> Answer:
    if question == "long":
        raise SettingsError("the question is too long", do="ask a shorter one")
    if question == "stop":
        raise KeyboardInterrupt
    word = context.split()[0]
    return Answer(word, 0, len(word), 1.0, 2.0)


def run(lines: str, context: str | None = None) -> Told:
    told = Told()
    AskLoop(first_word, told.tell, context, io.StringIO(lines)).run()
    return told


def test_one_text_serves_many_questions() -> None:
    assert run("Who?\nWhat?\n\n  Where? \n", "Ada was born.") == [
        ("Who?", "Ada", "Ada was born."),
        ("What?", "Ada", "Ada was born."),
        ("Where?", "Ada", "Ada was born."),
    ]


def test_without_a_text_the_first_lines_are_it() -> None:
    assert run("Ada\r\nwas born.\n\nWho?\n") == [("Who?", "Ada", "Ada\nwas born.")]


def test_the_text_is_changed_by_hand_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a text.txt").write_text("Émilie\n\ntranslated.", encoding="utf-8")
    told = run(f"Who?\n:context\nBob\n\nWho?\n:file {tmp_path}/a text.txt\nWho?\n", "Ada")
    assert told == [("Who?", "Ada", "Ada"), ("Who?", "Bob", "Bob"), ("Who?", "Émilie", "Émilie\n\ntranslated.")]


def test_an_empty_text_leaves_the_former_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    assert run(f":context\n\nWho?\n:file {tmp_path}/empty\nWho?\n", "Ada") == [("Who?", "Ada", "Ada")] * 2
    assert "that text is empty" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("long", "error: the question is too long"),
        (":nonsense\x1b[2J", "error: there is no :nonsense�[2J"),
        (":file /no/such/file", "error: cannot read /no/such/file: No such file"),
        (":file /", "error: cannot read /: Is a directory"),
        (":file a\0b", "error: cannot read"),
    ],
)
def test_an_error_is_told_and_the_loop_goes_on(line: str, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(f"{line}\nWho?\n", "Ada") == [("Who?", "Ada", "Ada")]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(what)
    assert "Traceback" not in err


def test_a_question_before_any_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("\nWho?\n") == []
    assert "there is no text to ask about yet" in capfd.readouterr().err


def test_the_history_tells_what_was_asked(capfd: pytest.CaptureFixture[str]) -> None:
    run("Who?\nlong\n:context\nBob\n\nWhat?\n:history\n", "Ada")
    assert "  1  Who?\n     Ada\n  2  What?\n     Bob\n" in capfd.readouterr().err


@pytest.mark.parametrize("end", [":quit\nWho?\n", "", "stop\nWho?\n"], ids=["quit", "Ctrl-D", "Ctrl-C"])
def test_each_end_is_clean(end: str) -> None:
    assert run("Who?\n" + end, "Ada") == [("Who?", "Ada", "Ada")]
    assert run(":context\nBob\n" + end * (end == ""), "Ada") == []
