"""A champion is scored again: on questions that it was not scored on before it was published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from podsquad.config.data_settings import FeatureSettings
from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import LAYOUT_FILE, read_layout
from podsquad.data.features import build_features
from podsquad.errors import DataError
from podsquad.evaluation.scoring import score_logits
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
    when it was published. Raises DataError where that is not told, and what making features raises.
    """
    theirs, ours = read_layout(champion), read_layout(features)
    is_same_tokenizer = all(_read(champion / name) == _read(challenger / name) for name in _TOKENIZER_FILES)
    if is_same_tokenizer and all(theirs.get(name) == ours.get(name) for name in _WINDOW):
        return features
    try:
        changes = {name: theirs[name] for name in _WINDOW}
    except KeyError as error:
        raise DataError(
            f"the champion's {LAYOUT_FILE} does not tell {error.args[0]}",
            why="it is of another form, so how the champion reads is not known",
            do="look at what is published; the next version brings a whole one",
        ) from None
    log("the champion has another tokenizer or other windows: features are made for it")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    changes |= {"tokenizer": str(champion.absolute()), "tokenizer_revision": None}
    build_features(settings.model_copy(update=changes), dataset, output, progress=_silent, log=log)
    return output


def score_again(settings: EvaluationSettings, dataset: Path, features: Path, logits: Path) -> Rescored:
    """Return the scores of a model's logits on the validation questions, as the evaluate stage finds them."""
    scoring = score_logits(settings, dataset, features, logits)
    return Rescored(scoring.metrics, scoring.per_question)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _silent(done: int, total: int, figures: object = None) -> None:
    return
