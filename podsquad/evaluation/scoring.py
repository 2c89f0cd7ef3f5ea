"""From a model's logits to answers, scores and metrics: one way, for a new model and for a champion scored again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import Features
from podsquad.data.dataset import Questions, read_questions
from podsquad.errors import InternalError
from podsquad.evaluation.answers import EMPTY_ANSWER, Answers, find_answers
from podsquad.evaluation.scored import ScoredQuestions, article_names, evaluation_digest
from podsquad.evaluation.slices import score_slices, slice_questions
from podsquad.evaluation.squad_metric import Scores, score_answers

SPLIT = "validation"


@dataclass(frozen=True)
class Scoring:
    """What a model answered to the validation questions, and how well."""

    questions: Questions
    answers: Answers
    scores: Scores
    per_question: ScoredQuestions
    """What the gate compares."""
    metrics: dict[str, Any]
    """What metrics.json holds; percentages keep every digit, so that two nights can be compared."""


def score_logits(settings: EvaluationSettings, dataset: Path, features: Path, logits: Path) -> Scoring:
    """Find and score the answers that a model's logits give to the validation questions.

    ``logits`` holds start_logits.npy and end_logits.npy: float32 of shape (total tokens,), aligned with the
    features' ``input_ids.offsets``. Equal inputs give an equal scoring.

    Raises DataError when dataset or features cannot be read or do not belong together, InternalError when the logits
    are not what a runtime promises.
    """
    questions = read_questions(dataset, SPLIT)
    answers = find_answers(
        Features(features, SPLIT),
        questions.contexts,
        _read_logits(logits / "start_logits.npy"),
        _read_logits(logits / "end_logits.npy"),
        num_best=settings.num_best,
        max_answer_tokens=settings.max_answer_tokens,
    )
    scores = score_answers(answers.texts, questions.answers)
    per_question = ScoredQuestions(
        ids=questions.ids,
        articles=article_names(questions),  # the gate resamples by article
        f1=np.asarray(scores.per_question_f1, np.float64),
        slices=slice_questions(questions),
    )
    metrics = {
        "exact_match": scores.exact_match,
        "f1": scores.f1,
        "num_questions": scores.num_questions,
        "num_articles": len(set(per_question.articles)),
        # Answered by the peer's word for "no span found"; an answer may also happen to read "empty".
        "num_empty": int(
            sum(
                text == EMPTY_ANSWER and found <= 1
                for text, found in zip(answers.texts, answers.num_found, strict=True)
            )
        ),
        "evaluation_digest": evaluation_digest(questions),
        "num_best": settings.num_best,
        "max_answer_tokens": settings.max_answer_tokens,
        "slices": score_slices(questions, scores),
    }
    return Scoring(questions, answers, scores, per_question, metrics)


def _read_logits(path: Path) -> NDArray[np.float32]:
    """Return the logits that a runtime wrote, mapped."""
    try:
        logits: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InternalError(
            f"cannot read the logits {path}: {error}",
            why="the prediction was cut short or wrote another format",
            do="run again with --refresh evaluate",
        ) from error
    return logits
