"""Whether the scores in a receipt follow from the published answers and the questions: every answer is scored again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from podsquad.data.checks import check_split
from podsquad.data.dataset import Questions, read_questions, write_split
from podsquad.data.squad import Record
from podsquad.evaluation.scored import QUESTIONS_FILE, evaluation_digest
from podsquad.evaluation.scoring import SPLIT
from podsquad.evaluation.squad_metric import score_answers
from podsquad.publishing.findings import Finding
from podsquad.publishing.receipt import Receipt
from podsquad.publishing.verify import Published
from podsquad.store.durable import parse_lines

_TOLERANCE = 1e-9  # of percentages: the order in which a machine adds


def verify_scores(receipt: Receipt, published: Published, records: Sequence[Record]) -> Finding:
    """Return whether the published answers to the validation ``records`` reach what the receipt says."""
    if QUESTIONS_FILE not in published.names:
        return Finding("data", "scores", "not checked", f"no {QUESTIONS_FILE} is published")
    questions, scores = _questions(records), receipt.scores
    if evaluation_digest(questions) != scores.evaluation_digest:
        return Finding("data", "scores", "changed", "these are not the questions that the model was scored on")
    try:
        answers = {row["id"]: _text(row["prediction"]) for row in parse_lines(published.read(QUESTIONS_FILE))}
    except (ValueError, KeyError, TypeError):
        return Finding("data", "scores", "changed", f"{QUESTIONS_FILE} cannot be read")
    again = score_answers([answers.get(key) for key in questions.ids], questions.answers)
    pairs = (
        (again.exact_match, scores.exact_match),
        (again.f1, scores.f1),
        (again.num_questions, scores.num_questions),
    )
    if any(abs(found - expected) > _TOLERANCE for found, expected in pairs):
        told = f"the answers reach {again.exact_match:.4f} and {again.f1:.4f}, not {scores.exact_match:.4f} and "
        return Finding("data", "scores", "changed", f"{told}{scores.f1:.4f}")
    return Finding("data", "scores", "ok", f"all {again.num_questions:,} answers scored again")


def _text(prediction: object) -> str:
    if not isinstance(prediction, str):
        raise TypeError("a prediction is a text")
    return prediction


def _questions(records: Sequence[Record]) -> Questions:
    """Return the records as the dataset has them: the good ones."""
    with tempfile.TemporaryDirectory(prefix="podsquad-verify-") as folder:
        write_split(Path(folder) / f"{SPLIT}.arrow", check_split(SPLIT, records, {}).kept)
        return read_questions(Path(folder), SPLIT)
