"""One question about one text, answered by a published model: what ``podsquad ask`` does."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podsquad.config.publish_settings import PublishSettings
from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import LAYOUT_FILE, Ragged
from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.evaluation.report import METRICS_FILE

_LONGEST_WINDOW_TOKENS = 384  # where a model does not say; Hugging Face's run_qa.py takes as much
_WINDOWS_AT_ONCE = 16
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_REPUBLISH = "name a published model, or publish again with podsquad run --refresh publish"


@dataclass(frozen=True)
class Answer:
    """The best answer: the text between two characters of the context, and how sure the model is of it."""

    text: str
    char_start: int  # -1 where no answer was found
    char_end: int  # one past the last
    probability: float  # share among the candidates
    score: float | None  # sum of the two logits; None where no answer was found

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Windows:
    """One question's windows, in the form that the evaluation reads (``answers.Windows``)."""

    question_index: np.ndarray
    context_start: np.ndarray
    context_length: np.ndarray
    input_ids: Ragged
    char_starts: Ragged
    char_ends: Ragged
    token_types: list[list[int]]

    def __len__(self) -> int:
        return len(self.question_index)


@dataclass(frozen=True)
class _Reading:
    """Windows and answers, in tokens."""

    max_length: int
    stride: int
    num_best: int
    max_answer_tokens: int


def read_context(text: str | None, file: Path | None) -> str:
    """Return the context: the text, a file's content, or standard input.

    Raises SettingsError when there is none or two, InputMissingError for a file that cannot be read, DataError for
    bytes that are not UTF-8.
    """
    if text is not None and file is not None:
        raise SettingsError("a context and a file with a context were given", do="give one of the two")
    if text is not None:
        return text
    if file is None:
        if sys.stdin.isatty():
            raise SettingsError("no context was given", do="give --context TEXT or --context-file FILE")
        # Not the stream of text: its encoding is the terminal's.
        content, name = sys.stdin.buffer.read(), "standard input"
    else:
        try:
            content, name = file.read_bytes(), str(file)
        except OSError as error:
            raise InputMissingError(f"cannot read {file}: {error.strerror or error}", do="check the path") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}", do="convert it") from error


def published_model(settings: PublishSettings) -> Path:
    """Return the folder of the newest publication. Raises InputMissingError when nothing was published there."""
    from podsquad.publishing.folder import CURRENT

    pointer = settings.folder / settings.name / CURRENT
    if not pointer.is_dir():
        raise InputMissingError(
            f"nothing is published in {pointer}",
            do="run podsquad run first, or name a model's folder with --model",
        )
    return pointer


def answer_question(model_folder: Path, question: str, context: str) -> Answer:
    """Return the best answer that the model in that folder finds in ``context``, which may be of any length.

    Raises InputMissingError when the folder is not there, DataError when it holds no question-answering model that can
    be loaded or a text is no Unicode, SettingsError for an empty question or context, a question longer than a window,
    a tokenizer that is not fast, or when torch is not installed.
    """
    if not question.strip() or not context.strip():
        raise SettingsError(
            "the question or the context is empty",
            why="without --context and --context-file the context is read from standard input",
            do="give both some text",
        )
    _check_unicode("question", question)
    _check_unicode("context", context)
    from podsquad.evaluation.answers import find_answers

    tokenizer, model = _load(model_folder)
    reading = _how_it_read(model_folder, model.config)
    windows = _make_windows(tokenizer, reading, question, context)
    if (highest := int(windows.input_ids.flat.max())) >= model.config.vocab_size:
        raise DataError(
            f"the tokenizer in {model_folder} gives the token {highest}, the model knows {model.config.vocab_size}",
            why="tokenizer and model do not belong together",
            do=_REPUBLISH,
        )
    start_logits, end_logits = _predict(model, tokenizer, windows)
    found = find_answers(
        windows,
        [context],
        start_logits,
        end_logits,
        num_best=reading.num_best,
        max_answer_tokens=reading.max_answer_tokens,
    )
    if not found.num_found[0]:
        return Answer("", -1, -1, 0.0, None)
    start, end = int(found.char_starts[0, 0]), int(found.char_ends[0, 0])
    return Answer(context[start:end], start, end, float(found.probabilities[0, 0]), float(found.scores[0, 0]))


def _check_unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # what the shell passes on of bytes that are not UTF-8
        raise DataError(
            f"the {name} is not Unicode text: {error.reason} at character {error.start}", do="give it as UTF-8"
        ) from error


def _load(folder: Path) -> tuple[Any, Any]:
    if not folder.is_dir():
        raise InputMissingError(
            f"there is no model folder {folder}", do="check --model; podsquad run makes and publishes a model"
        )
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # Without any of them transformers makes a tokenizer that knows no word.
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise DataError(
            f"the model folder {folder} has no tokenizer", why="it lacks a tokenizer.json", do="name a published model"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model, loaded = AutoModelForQuestionAnswering.from_pretrained(
            str(folder), dtype="float32", local_files_only=True, output_loading_info=True
        )
    except ImportError as error:
        raise SettingsError(
            f"cannot load a model: {str(error).strip().splitlines()[0]}",
            why="the runtime's packages are not installed here",
            do='install them with: pip install "podsquad[torch]"',
        ) from error
    except Exception as error:  # each of the libraries has kinds of its own for what is damaged
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"cannot load a question-answering model from {folder}: {said[0]}",
            why="the folder is not what save_pretrained or podsquad writes, or a file in it is damaged",
            do=_REPUBLISH,
        ) from error
    if missing := sorted(loaded["missing_keys"]):
        raise DataError(
            f"the model in {folder} lacks the weights {', '.join(missing[:3])}",
            why="it was never trained to answer questions: transformers would make them up",
            do=_REPUBLISH,
        )
    if not tokenizer.is_fast:
        raise SettingsError(
            f"the tokenizer in {folder} is not a fast one", do="use a model whose folder has a tokenizer.json"
        )
    return tokenizer, model.eval()


def _how_it_read(folder: Path, config: Any) -> _Reading:
    """Return how the model read its questions when it was evaluated, as a publication tells; else run_qa.py's way."""
    from podsquad.runtimes.base_model import first_position

    positions = getattr(config, "max_position_embeddings", None) or _LONGEST_WINDOW_TOKENS
    longest = min(_LONGEST_WINDOW_TOKENS, positions - first_position(config))
    layout, metrics = (_read_json(folder / name) for name in (LAYOUT_FILE, METRICS_FILE))
    defaults = EvaluationSettings()
    return _Reading(
        max_length=layout.get("max_length", longest),
        stride=layout.get("stride", longest // 3),
        num_best=metrics.get("num_best", defaults.num_best),
        max_answer_tokens=metrics.get("max_answer_tokens", defaults.max_answer_tokens),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", do=_REPUBLISH) from error
    return value if isinstance(value, dict) else {}


def _make_windows(tokenizer: Any, reading: _Reading, question: str, context: str) -> _Windows:
    longest, stride = reading.max_length, reading.stride
    question = question.lstrip()
    if len(tokenizer(question, "")["input_ids"]) + stride >= longest:
        raise SettingsError(
            f"the question is too long: {len(question)} characters",
            why=f"the model reads windows of {longest} tokens, which must hold the question and some context",
            do="ask a shorter question",
        )
    encoded = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=longest,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    first_tokens, counts, char_starts, char_ends = [], [], [], []
    for row, offsets in enumerate(encoded["offset_mapping"]):
        places = [place for place, part in enumerate(encoded.sequence_ids(row)) if part == 1]
        first_tokens.append(places[0] if places else 0)
        counts.append(len(places))
        char_starts.append(np.array([offsets[place][0] for place in places], np.int32))
        char_ends.append(np.array([offsets[place][1] for place in places], np.int32))
    ids = [np.array(row, np.int32) for row in encoded["input_ids"]]
    return _Windows(
        question_index=np.zeros(len(ids), np.int32),
        context_start=np.array(first_tokens, np.int32),
        context_length=np.array(counts, np.int32),
        input_ids=_ragged(ids),
        char_starts=_ragged(char_starts),
        char_ends=_ragged(char_ends),
        token_types=encoded.get("token_type_ids", []),
    )


def _ragged(rows: list[np.ndarray]) -> Ragged:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return Ragged(np.concatenate(rows), offsets)


def _predict(model: Any, tokenizer: Any, windows: _Windows) -> tuple[np.ndarray, np.ndarray]:
    import torch

    starts, ends = [], []
    for first in range(0, len(windows), _WINDOWS_AT_ONCE):
        rows = range(first, min(first + _WINDOWS_AT_ONCE, len(windows)))
        batch = {"input_ids": [windows.input_ids[row].tolist() for row in rows]}
        if "token_type_ids" in tokenizer.model_input_names:
            batch["token_type_ids"] = [windows.token_types[row] for row in rows]
        with torch.inference_mode():
            output = model(**tokenizer.pad(batch, padding_side="right", return_tensors="pt"))
        for place, row in enumerate(rows):
            own = len(windows.input_ids[row])
            starts.append(output.start_logits[place, :own].float().numpy())
            ends.append(output.end_logits[place, :own].float().numpy())
    return np.concatenate(starts), np.concatenate(ends)
