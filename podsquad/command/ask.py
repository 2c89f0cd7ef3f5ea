"""``podsquad ask``: one question, a loop of them, a file of them, or a page; the model is loaded once.

Every answer is told with its place, its probability and score, and the words around it with the answer marked.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podsquad.ask_page import AskServer
from podsquad.command.ask_loop import AskLoop
from podsquad.config.settings import Settings
from podsquad.errors import SettingsError, from_os_error
from podsquad.evaluation.report import SCORES
from podsquad.published_model import published_model
from podsquad.question import Answer, answer_question, ask_model, read_context
from podsquad.question_excerpt import Excerpt, cut_excerpt, marked_line, shown
from podsquad.store.durable import write_bytes
from podsquad.terminal import print_json, print_table, told_on_terminal

if TYPE_CHECKING:
    from podsquad.question_file import AnsweredQuestion

_NOTHING = "(no answer found)"
_AROUND_IN_TABLE = 40  # characters on each side of an answer
_logger = logging.getLogger("podsquad.ask")


def ask(
    model: Path | None,
    settings: Settings,
    *,
    token: Callable[[], AbstractContextManager[None]],
    question: str | None,
    context: str | None,
    context_file: Path | None,
    interactive: bool,
    questions: Path | None,
    predictions: Path | None,
    serve: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Answer in the one way that the arguments ask for, with a model's folder or what ``settings`` published.

    ``token`` lets HF_TOKEN be what may read a repository on the Hub, where the model comes from one. Raises the errors
    of podsquad.errors.
    """
    ways = [question is not None, interactive, questions is not None, serve]
    if sum(ways) != 1:
        raise SettingsError(
            "no question was asked" if not any(ways) else "several ways of asking were given at once",
            why="a call answers in one way",
            do="give one of: a question, --interactive, --questions FILE, --serve",
        )
    has_context = context is not None or context_file is not None
    if has_context and (questions is not None or serve):
        raise SettingsError(
            "a context was given beside --questions or --serve",
            why="a file of questions brings its contexts, and the page asks for one",
            do="leave --context and --context-file out",
        )
    if predictions is not None and questions is None:
        raise SettingsError(
            "--predictions was given without --questions",
            why="they are the answers to a file of questions",
            do="add --questions FILE or leave --predictions out",
        )
    if port is not None and not serve:
        raise SettingsError(
            "--port was given without --serve", why="the page alone has a port", do="add --serve or leave --port out"
        )
    model_folder = model or _published(settings, token)
    if question is not None:
        text = read_context(context, context_file)
        show_answer(answer_question(model_folder, question, text), text, as_json=as_json)
    elif interactive:
        _ask_in_a_loop(model_folder, read_context(context, context_file) if has_context else None, as_json=as_json)
    elif questions is not None:
        _answer_file(model_folder, questions, predictions, as_json=as_json)
    else:
        _serve(model_folder, 0 if port is None else port, as_json=as_json)


def show_answer(answer: Answer, context: str, *, as_json: bool) -> None:
    """Print an answer with its place, its probability and score, and the words around it."""
    if as_json:
        print_json(answer_json(answer, context))
        return
    if answer.score is None:
        print(_NOTHING)
        return
    print(shown(answer.text))
    print(
        f"  characters {answer.char_start} to {answer.char_end}, probability {answer.probability:.3f}, "
        f"score {answer.score:.2f}"
    )
    print(f"  {marked_line(cut_excerpt(context, answer.char_start, answer.char_end), len(context))}")


def answer_json(answer: Answer, context: str) -> dict[str, Any]:
    """Return an answer with its excerpt as JSON values; without an answer the excerpt is null."""
    excerpt = None if answer.score is None else cut_excerpt(context, answer.char_start, answer.char_end).to_json()
    return answer.to_json() | {"excerpt": excerpt}


def _ask_in_a_loop(model_folder: Path, context: str | None, *, as_json: bool) -> None:
    from podsquad.question_model import load_question_model

    model = load_question_model(model_folder)

    def tell(question: str, answer: Answer, text: str) -> None:
        if as_json:  # one line each: a program reads them as they come
            print(json.dumps({"question": question} | answer_json(answer, text), ensure_ascii=False), flush=True)
        else:
            show_answer(answer, text, as_json=False)

    AskLoop(lambda question, text: ask_model(model, question, text), tell, context).run()


def _published(settings: Settings, token: Callable[[], AbstractContextManager[None]]) -> Path:
    with told_on_terminal(), token():
        return published_model(settings, _logger.info)


def _answer_file(model_folder: Path, file: Path, predictions: Path | None, *, as_json: bool) -> None:
    from podsquad.question_file import answer_records, read_question_file
    from podsquad.question_model import load_question_model

    records = read_question_file(file)  # before the model: a wrong file is told at once
    answered = answer_records(load_question_model(model_folder), records, _count)
    if predictions is not None:
        try:
            write_bytes(predictions, (json.dumps(answered.predictions(), indent=0) + "\n").encode("ascii"))
        except OSError as error:
            raise from_os_error(error, f"writing {predictions}", "--predictions FILE") from error
    scores = answered.scores()
    if as_json:
        told = [
            {"id": each.record.id, "question": each.record.question, **answer_json(each.answer, each.record.context)}
            for each in answered.questions
        ]
        print_json({"answers": told, "scores": scores if scores["num_questions"] else None})
        return
    columns = ("id", "question", "answer", "characters", "probability", "score", "in the context")
    rows = [_row(each) for each in answered.questions]
    print_table(columns, rows, right=("characters", "probability", "score"))
    if scores["num_questions"]:
        print(
            f"\nexact match {scores['exact_match']:.2f}, F1 {scores['f1']:.2f} on {scores['num_questions']:,} questions"
        )


def _row(answered: AnsweredQuestion) -> tuple[str, ...]:
    record, answer = answered.record, answered.answer
    asked = (shown(record.id), shown(record.question))
    if answer.score is None:
        return (*asked, _NOTHING, "-", "-", "-", "-")
    excerpt = cut_excerpt(record.context, answer.char_start, answer.char_end, _AROUND_IN_TABLE)
    return (
        *asked,
        shown(answer.text),
        f"{answer.char_start}-{answer.char_end}",
        f"{answer.probability:.3f}",
        f"{answer.score:.2f}",
        marked_line(excerpt, len(record.context)),
    )


def _count(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} questions", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _serve(model_folder: Path, port: int, *, as_json: bool) -> None:
    from podsquad.question_model import load_question_model

    model = load_question_model(model_folder)

    def answer(question: str, context: str) -> dict[str, Any]:
        made = ask_model(model, question, context)
        start, end = max(0, made.char_start), max(0, made.char_end)
        # Cut here: a browser counts characters in another way.
        whole = Excerpt(context[:start], context[start:end], context[end:], 0)
        return made.to_json() | {"before": whole.before, "after": whole.after}

    with AskServer(port, describe_model(model_folder, model.scores), answer) as server:
        if as_json:
            print_json({"url": server.url})
        else:
            print(f"{server.url}    Ctrl-C ends it", flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print(file=sys.stderr)


def describe_model(folder: Path, scores: dict[str, Any]) -> str:
    """Return in a line which model answers, and how well it did when it was evaluated, where it tells."""
    where = folder.resolve()
    name = "/".join(part for part in where.parts[-3:] if part not in ("/", "versions"))
    exact_match, f1, count = (scores.get(each) for each in SCORES)
    if not (isinstance(exact_match, int | float) and isinstance(f1, int | float) and isinstance(count, int)):
        return name
    return f"{name} · exact match {exact_match:.2f}, F1 {f1:.2f} on {count:,} questions"
