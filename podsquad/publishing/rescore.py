"""A champion is scored again: on questions that it was not scored on before it was published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from podsquad.config.data_settings import FeatureSettings
from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import Features, read_layout
from podsquad.data.dataset import read_questions
from podsquad.data.features import build_features
from podsquad.evaluation.answers import find_answers
from podsquad.evaluation.report import SPLIT, read_logits, summarize
from podsquad.evaluation.scored import ScoredQuestions, article_names
from podsquad.evaluation.slices import slice_questions
from podsquad.evaluation.squad_metric import score_answers
from podsquad.publishing.decide import Rescored

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_WINDOW = ("max_length", "stride")


def features_for(
    champion: Path,
    challenger: Path,
    features: Path,
    dataset: Path,
    settings: FeatureSettings,
    output: Path,
    *,
    log: Callable[[str], None],
) -> Path:
    """Return features of the dataset that the champion can read: the challenger's, or ones made for it in ``output``.

    ``champion`` and ``challenger`` are folders with a model and its tokenizer. The champion reads windows as it did
    when it was published. Raises what making features raises.
    """
    theirs, ours = read_layout(champion), read_layout(features)
    is_same_tokenizer = all(_read(champion / name) == _read(challenger / name) for name in _TOKENIZER_FILES)
    if is_same_tokenizer and all(theirs.get(name) == ours.get(name) for name in _WINDOW):
        return features
    log("the champion has another tokenizer or other windows: features are made for it")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    changes = {"tokenizer": str(champion.absolute()), "tokenizer_revision": None}
    windows = {name: theirs[name] for name in _WINDOW}
    build_features(settings.model_copy(update=changes | windows), dataset, output, progress=_silent, log=log)
    return output


def score_again(settings: EvaluationSettings, dataset: Path, features: Path, logits: Path) -> Rescored:
    """Return the scores of a model's logits on the validation questions, as the evaluate stage finds them."""
    questions = read_questions(dataset, SPLIT)
    answers = find_answers(
        Features(features, SPLIT),
        questions.contexts,
        read_logits(logits / "start_logits.npy"),
        read_logits(logits / "end_logits.npy"),
        num_best=settings.num_best,
        max_answer_tokens=settings.max_answer_tokens,
    )
    scores = score_answers(answers.texts, questions.answers)
    scored = ScoredQuestions(
        ids=questions.ids,
        articles=article_names(questions),
        f1=np.asarray(scores.per_question_f1, np.float64),
        slices=slice_questions(questions),
    )
    return Rescored(summarize(settings, questions, answers, scores), scored)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _silent(done: int, total: int, figures: object = None) -> None:
    return
