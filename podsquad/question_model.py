"""A published model, loaded once, that answers any number of questions. Only what runs the model imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podsquad.config.training_settings import EvaluationSettings
from podsquad.data.arrow import LAYOUT_FILE
from podsquad.data.pairs import Frame, read_frame
from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.evaluation.answers import Answers, find_answers
from podsquad.evaluation.report import METRICS_FILE
from podsquad.question_windows import QuestionWindows, make_windows
from podsquad.runtimes.base_model import first_position, takes_token_types
from podsquad.store.durable import parse_json

_LONGEST_WINDOW_TOKENS = 384  # where a model does not say; Hugging Face's run_qa.py takes as much
_WINDOWS_AT_ONCE = 16
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_REPUBLISH = "name a published model, or publish again with podsquad run --refresh publish"


@dataclass(frozen=True)
class Reading:
    """Windows and answers, in tokens."""

    max_length: int
    stride: int
    num_best: int
    max_answer_tokens: int


@dataclass(frozen=True)
class QuestionModel:
    """A question-answering model of transformers with its tokenizer, and how it reads."""

    folder: Path
    tokenizer: Any
    model: Any
    frame: Frame
    reading: Reading
    scores: dict[str, Any]  # what its metrics.json says; nothing where it has none

    def find(self, questions: Sequence[str], contexts: Sequence[str], places: Sequence[str] = ()) -> Answers:
        """Return the best answers, as the evaluate stage finds them, to questions about the contexts of the same row.

        ``places`` open the messages about a row. Raises DataError when a text is no Unicode or tokenizer and model do
        not belong together, SettingsError for a question longer than a window.
        """
        places = places or [""] * len(questions)
        for place, question, context in zip(places, questions, contexts, strict=True):
            check_unicode(f"{place}the question", question)
            check_unicode(f"{place}the context", context)
        reading = self.reading
        windows = make_windows(
            self.tokenizer, self.frame, questions, contexts, places, reading.max_length, reading.stride
        )
        highest = int(windows.input_ids.flat.max(initial=0))
        if highest >= self.model.config.vocab_size:
            raise DataError(
                f"the tokenizer in {self.folder} gives the token {highest}, "
                f"the model knows {self.model.config.vocab_size}",
                why="tokenizer and model do not belong together",
                do=_REPUBLISH,
            )
        start_logits, end_logits = self._predict(windows)
        return find_answers(
            windows,
            list(contexts),
            start_logits,
            end_logits,
            num_best=reading.num_best,
            max_answer_tokens=reading.max_answer_tokens,
        )

    def _predict(self, windows: QuestionWindows) -> tuple[np.ndarray, np.ndarray]:
        """Return start and end logits, one float32 per token, window after window."""
        import torch

        offsets, lengths = windows.input_ids.offsets, windows.input_ids.lengths
        padding = self.tokenizer.pad_token_id or 0  # hidden by the mask
        with_types = takes_token_types(self.model.config, {"uses_token_types": self.frame.uses_token_types})
        logits = np.zeros((2, int(offsets[-1])), np.float32)
        order = np.argsort(lengths, kind="stable")  # neighbours of nearly one length: little padding
        for first in range(0, len(order), _WINDOWS_AT_ONCE):
            rows = order[first : first + _WINDOWS_AT_ONCE]
            ids = np.full((len(rows), int(lengths[rows].max())), padding, np.int64)
            mask = np.arange(ids.shape[1]) < lengths[rows, None]
            ids[mask] = np.concatenate([windows.input_ids[row] for row in rows])
            batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
            if with_types:
                types = mask & (np.arange(ids.shape[1]) >= windows.context_start[rows, None])
                batch["token_type_ids"] = torch.from_numpy(types.astype(np.int64))
            with torch.inference_mode():
                output = self.model(**batch)
            made = np.stack([output.start_logits.float().numpy(), output.end_logits.float().numpy()])
            for place, row in enumerate(rows):
                logits[:, offsets[row] : offsets[row + 1]] = made[:, place, : lengths[row]]
        return logits[0], logits[1]


def load_question_model(folder: Path) -> QuestionModel:
    """Load the model that lies in the folder.

    Raises InputMissingError when the folder is not there, DataError when it holds no question-answering model that can
    be loaded, SettingsError for a tokenizer that is not fast or does not fit, or when torch is not installed.
    """
    if not folder.is_dir():
        raise InputMissingError(
            f"there is no model folder {folder}",
            why="it was never made, or was removed",
            do="check --model; podsquad run makes and publishes a model",
        )
    tokenizer, model = _load(folder)
    tokenizer.padding_side = "right"  # how windows are filled up here; what it was saved with does not alter an answer
    metrics = _read_json(folder / METRICS_FILE)
    return QuestionModel(
        folder, tokenizer, model, read_frame(tokenizer), _how_it_reads(folder, model.config, metrics), metrics
    )


def check_unicode(name: str, text: str) -> None:
    """Raise DataError for a text with half of a surrogate pair: what a shell passes on of bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} is not Unicode text: {error.reason} at character {error.start}",
            why="half of a pair of surrogates, or bytes that are no text, came by the command line or a file",
            do="give it as UTF-8",
        ) from error


def _load(folder: Path) -> tuple[Any, Any]:
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
        # Unset, transformers asks at the terminal whether to run a folder's code, and unpickles a pytorch_model.bin.
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model, loaded = AutoModelForQuestionAnswering.from_pretrained(
            str(folder),
            dtype="float32",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
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
            f"the tokenizer in {folder} is not a fast one",
            why="answers are cut from the text by the character offsets that only fast ones give",
            do="use a model whose folder has a tokenizer.json",
        )
    return tokenizer, model.eval()


def _how_it_reads(folder: Path, config: Any, metrics: dict[str, Any]) -> Reading:
    """Return how the model read its questions when it was evaluated, as a publication tells; else run_qa.py's way."""
    positions = getattr(config, "max_position_embeddings", None) or _LONGEST_WINDOW_TOKENS
    most = positions - first_position(config)
    longest = min(_LONGEST_WINDOW_TOKENS, most)
    layout = _read_json(folder / LAYOUT_FILE)
    defaults = EvaluationSettings()
    found = {
        "max_length": layout.get("max_length", longest),
        "stride": layout.get("stride", longest // 3),
        "num_best": metrics.get("num_best", defaults.num_best),
        "max_answer_tokens": metrics.get("max_answer_tokens", defaults.max_answer_tokens),
    }
    for name, value in found.items():
        if type(value) is not int or not 0 <= value <= 2**15:
            raise _unreadable(folder, name, value)
    if not found["stride"] < found["max_length"] <= most or not found["num_best"] or not found["max_answer_tokens"]:
        raise _unreadable(folder, "how the model reads", found)
    return Reading(**found)


def _unreadable(folder: Path, name: str, value: Any) -> DataError:
    shown = str(value)
    return DataError(
        f"{folder}: {name} cannot be {shown if len(shown) <= 120 else shown[:117] + '...'}",
        why=f"{LAYOUT_FILE} or {METRICS_FILE} was changed, or belongs to another model",
        do=_REPUBLISH,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}", why="it was changed or damaged", do=_REPUBLISH) from error
    return value if isinstance(value, dict) else {}
