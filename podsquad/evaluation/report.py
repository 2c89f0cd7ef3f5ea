"""The evaluation stage: from logits to answers, scores, pictures and a page for people.

    metrics.json               exact_match, f1 (percent), num_questions, num_empty, slices, evaluation_digest, and how;
                               "emulated" where the IPUs were
    predictions.json           {id: text}, the official form: evaluate-v1.1.py scores it as it is
    questions.jsonl            per question: prediction, its place and probability, exact_match, f1, article, slices
    nbest.jsonl                per question: up to five best answers with probability and score
    plots/loss.png             the training loss and the learning rate
    plots/f1_by_slice.png      F1 by kind of question
    report.md                  the same for people, with the surest of the wrong answers

All bytes are a pure function of the settings and of the input artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.dataset import Questions
from podsquad.errors import DataError, InternalError, from_os_error
from podsquad.evaluation.answers import Answers
from podsquad.evaluation.plots import TITLES, plot_loss, plot_slices
from podsquad.evaluation.scored import QUESTIONS_FILE
from podsquad.evaluation.scoring import Scoring, score_logits
from podsquad.evaluation.squad_metric import Scores
from podsquad.store.durable import encode_lines, parse_lines, parse_object, write_bytes, write_json

METRICS_FILE = "metrics.json"
SCORES = ("exact_match", "f1", "num_questions")  # what is told of a model in a line
NUM_BEST_KEPT = 5
_NUM_MISTAKES = 10


def build_evaluation(
    settings: EvaluationSettings, dataset: Path, features: Path, logits: Path, model: Path, output: Path
) -> None:
    """Score a model's logits on the validation split and write the evaluation into the folder ``output``.

    ``logits`` holds start_logits.npy and end_logits.npy: float32 of shape (total tokens,), aligned with the
    features' ``input_ids.offsets``. ``model`` holds history.jsonl and training.json. Equal inputs give equal
    bytes.

    Raises DataError when dataset or features cannot be read or do not belong together, InternalError when the
    runtime's logits or records are not what it promises, StoreError when ``output`` cannot be written.
    """
    scoring = score_logits(settings, dataset, features, logits)
    questions, answers, scores = scoring.questions, scoring.answers, scoring.scores
    history = read_history(model)
    training = read_training(model)
    metrics = scoring.metrics | ({"emulated": True} if training.get("emulated") else {})
    mark = "emulated" if "emulated" in metrics else ""
    files = {
        "predictions.json": _predictions(questions, answers),
        QUESTIONS_FILE: encode_lines(_question_rows(scoring)),
        "nbest.jsonl": encode_lines(_best_rows(questions, answers)),
        "plots/loss.png": plot_loss(history, mark),
        "plots/f1_by_slice.png": plot_slices(metrics["slices"], metrics["f1"], mark),
        "report.md": write_report(metrics, training, questions, answers, scores).encode("utf-8"),
    }
    try:
        (output / "plots").mkdir(exist_ok=True)
        for name, content in files.items():
            write_bytes(output / name, content)
        write_json(output / METRICS_FILE, metrics)
    except OSError as error:
        raise from_os_error(error, "writing the evaluation") from error


def read_history(model: Path) -> list[dict[str, Any]]:
    """Return the entries of a model's history.jsonl ({step, loss, learning_rate}). Raises InternalError."""
    path = model / "history.jsonl"
    try:
        return parse_lines(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken_model(path, error) from error


def read_training(model: Path) -> dict[str, Any]:
    """Return a model's training.json. Raises InternalError."""
    path = model / "training.json"
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken_model(path, error) from error


def read_metrics(evaluation: Path) -> dict[str, Any]:
    """Return an evaluation's metrics.json. Raises DataError."""
    path = evaluation / METRICS_FILE
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: {error}",
            why="it is not there, was changed, or a kill cut it short",
            do="run again with --refresh evaluate",
        ) from error


def write_report(
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    questions: Questions,
    answers: Answers,
    scores: Scores,
) -> str:
    """Return report.md: scores, slices, pictures, and the wrong answers that the model was surest of."""
    loss = training.get("mean_loss")
    trained = f"{training.get('steps', '?')} optimizer steps" + (
        f", mean loss {loss:.4f}" if isinstance(loss, int | float) else ""
    )
    parts = [
        "# Evaluation",
        f"Exact match **{metrics['exact_match']:.2f}**, F1 **{metrics['f1']:.2f}** on "
        f"{metrics['num_questions']:,} questions about {metrics['num_articles']:,} articles. Trained for "
        f"{trained}.",
    ]
    if metrics.get("emulated"):
        parts.append("**Emulated**: the IPUs of this training and prediction were an emulation on a CPU.")
    if metrics["num_empty"]:
        parts.append(f"No span was found for {metrics['num_empty']:,} questions; they count as wrong.")
    parts += ["![Training loss](plots/loss.png)", "![F1 by slice](plots/f1_by_slice.png)"]
    for view, slices in metrics["slices"].items():
        parts.append(f"## {TITLES.get(view, view)}\n\n{slice_table(slices)}")
    parts.append(f"## The surest mistakes\n\n{_mistakes(questions, answers, scores)}")
    return "\n\n".join(parts) + "\n"


def slice_table(slices: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the slices of one view as a Markdown table."""
    rows = ["| | questions | exact match | F1 |", "|---|---:|---:|---:|"]
    rows += [
        f"| {name} | {part['num_questions']:,} | {part['exact_match']:.2f} | {part['f1']:.2f} |"
        for name, part in slices.items()
    ]
    return "\n".join(rows)


def _mistakes(questions: Questions, answers: Answers, scores: Scores) -> str:
    wrong = np.flatnonzero(scores.per_question_f1 == 0.0)
    wrong = wrong[~scores.per_question_exact_match[wrong]]
    surest = wrong[np.argsort(-answers.best_probabilities[wrong], kind="stable")][:_NUM_MISTAKES]
    if not len(surest):
        return "None: every answer shares a word with an annotation."
    rows = ["| question | answered | annotated | probability |", "|---|---|---|---:|"]
    for row in surest.tolist():
        cells = (questions.questions[row], answers.texts[row], questions.answers[row][0])
        rows.append(f"| {' | '.join(map(_cell, cells))} | {float(answers.best_probabilities[row]):.3f} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= 120 else text[:117] + "..."
    for special in "\\|`*_<>[]":
        text = text.replace(special, "\\" + special)
    return text


def _predictions(questions: Questions, answers: Answers) -> bytes:
    pairs = dict(zip(questions.ids, answers.texts, strict=True))
    return (json.dumps(pairs, ensure_ascii=False, indent=0) + "\n").encode("utf-8")


def _question_rows(scoring: Scoring) -> Iterable[dict[str, Any]]:
    answers, scored = scoring.answers, scoring.per_question
    for row, key in enumerate(scored.ids):
        yield {
            "id": key,
            "article": scored.articles[row],
            "slices": {view: names[row] for view, names in scored.slices.items()},
            "prediction": answers.texts[row],
            "char_start": int(answers.char_starts[row, 0]),
            "char_end": int(answers.char_ends[row, 0]),
            "probability": round(float(answers.best_probabilities[row]), 6),
            "exact_match": int(scoring.scores.per_question_exact_match[row]),
            "f1": float(scored.f1[row]),
        }


def _best_rows(questions: Questions, answers: Answers) -> Iterable[dict[str, Any]]:
    for row, key in enumerate(questions.ids):
        context = questions.contexts[row]
        count = min(NUM_BEST_KEPT, int(answers.num_found[row]))
        starts, ends = answers.char_starts[row].tolist(), answers.char_ends[row].tolist()
        yield {
            "id": key,
            "best": [
                {
                    "text": context[starts[rank] : ends[rank]],
                    "char_start": starts[rank],
                    "probability": round(float(answers.probabilities[row, rank]), 6),
                    "score": round(float(answers.scores[row, rank]), 5),
                }
                for rank in range(count)
            ],
        }


def _broken_model(path: Path, error: Exception) -> InternalError:
    return InternalError(
        f"cannot read {path}: {error}",
        why="the training's artifact lacks what every training writes",
        do="run again with --refresh train",
    )
