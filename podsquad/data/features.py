"""The tokenize stage: from a dataset folder to a features folder.

    train.arrow, validation.arrow   one row per window (arrow.FEATURES_SCHEMA), unpadded, in the questions' order
    layout.json                     lengths, counts and what a model must know (arrow.read_layout)
    tokenizer/                      what transformers' save_pretrained writes

All bytes are a pure function of the settings, the dataset and the tokenizer's files: no times, no paths, and the
same for any number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from podsquad.config.data_settings import FeatureSettings
from podsquad.data.arrow import FEATURES_SCHEMA, LAYOUT_FILE, SPLITS
from podsquad.data.labels import label_windows
from podsquad.data.pairs import Frame, Rows, read_frame
from podsquad.data.questions import QuestionTable
from podsquad.data.routes import Route, choose_route
from podsquad.data.tokenizer import load_tokenizer, train_tokenizer
from podsquad.data.windows import Integers, Tokens
from podsquad.data.workers import Count, Workers, cut, library_threads_off
from podsquad.errors import SettingsError, from_os_error
from podsquad.store.durable import durable_file, write_json

TOKENIZER_FOLDER = "tokenizer"


def build_features(
    settings: FeatureSettings,
    dataset: Path,
    output: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Tokenize both splits of the folder ``dataset`` into the folder ``output``, which must exist and be empty.

    Ids, offsets and labels are those of Hugging Face's run_qa.py (examples/pytorch/question-answering of
    transformers, without padding) with two exceptions. Where an answer starts in a window's last context token,
    run_qa.py labels the window's last token; ``settings.label_closing_token`` asks for that. And where a tokenizer
    puts no token between question and context, its end label may fall into the question; here it never does.

    ``progress`` is told the texts done and their number over both splits, and ``log`` what was decided and why.
    Memory: some 12 bytes per token of a split's distinct contexts and a few pieces of 1,024 questions.

    Raises what ``load_tokenizer`` raises; SettingsError when the tokenizer does not fit (``read_frame``) or reads
    fewer tokens than ``settings.max_length``; DataError when the dataset cannot be read or a question is so long that
    no window can advance through its context; StoreError when ``output`` cannot be written.
    """
    tables = {split: QuestionTable(dataset, split) for split in SPLITS}
    if settings.tokenizer == "train":
        tokenizer = train_tokenizer(tables["train"].texts(), settings.vocab_size)
        log(f"trained a byte-level BPE of {len(tokenizer)} tokens on the training split")
    else:
        tokenizer = load_tokenizer(settings.tokenizer, settings.tokenizer_revision)
    kept = keep_tokenizer(tokenizer, output, settings.max_length, log)
    write_features(settings, kept, tables, output, progress=progress, log=log)


@dataclass(frozen=True)
class KeptTokenizer:
    """A tokenizer that a features folder has a copy of, and what ``layout.json`` tells of it."""

    tokenizer: Any
    frame: Frame
    vocab_size: int
    pad_token_id: int


def keep_tokenizer(tokenizer: Any, output: Path, max_length: int, log: Callable[[str], None]) -> KeptTokenizer:
    """Write a copy to ``output``, as the tokenizer is before its first truncating call, which would be saved with it.

    Raises what ``build_features`` raises for a tokenizer that does not fit.
    """
    if max_length > tokenizer.model_max_length:
        raise SettingsError(
            f"features.max_length is {max_length}, but the tokenizer's model reads at most "
            f"{tokenizer.model_max_length} tokens",
            why="longer windows have positions that the model does not know",
            do=f"set features.max_length to {tokenizer.model_max_length} or less",
        )
    frame = read_frame(tokenizer)
    try:
        _save_tokenizer(tokenizer, output / TOKENIZER_FOLDER)
    except OSError as error:
        raise from_os_error(error, "writing the features") from error
    vocab_size = max(tokenizer.get_vocab().values()) + 1
    return KeptTokenizer(tokenizer, frame, vocab_size, _pad_token_id(tokenizer, log))


def write_features(
    settings: FeatureSettings,
    kept: KeptTokenizer,
    tables: Mapping[str, QuestionTable],
    output: Path,
    *,
    progress: Callable[[int, int], None],
    log: Callable[[str], None],
) -> None:
    """Do the work of ``build_features`` after the tokenizer's: from text to features. It changes the tokenizer."""
    layout: dict[str, Any] = {
        "max_length": settings.max_length,
        "stride": settings.stride,
        "vocab_size": kept.vocab_size,
        "pad_token_id": kept.pad_token_id,
        "uses_token_types": kept.frame.uses_token_types,
        "splits": {},
    }
    count = Count(sum(len(table) + table.num_contexts for table in tables.values()), progress)
    lengths = (settings.max_length, settings.stride)
    try:
        with library_threads_off(), Workers(settings.workers) as workers:
            route = choose_route(kept.tokenizer, kept.frame, *lengths, list(tables.values()), log)
            for split, table in tables.items():
                path = output / f"{split}.arrow"
                layout["splits"][split] = _write_split(path, table, route, settings, workers, count)
                log("{}: {num_questions} questions, {num_features} windows".format(split, **layout["splits"][split]))
        write_json(output / LAYOUT_FILE, layout)
    except OSError as error:
        raise from_os_error(error, "writing the features") from error


def _write_split(
    path: Path, table: QuestionTable, route: Route, settings: FeatureSettings, workers: Workers, count: Count
) -> dict[str, int]:
    """Write one split's windows and return its part of the layout."""
    route.prepare(table, workers, count.add)

    def batch_of(part: slice) -> pa.RecordBatch:
        return _batch(route.rows(part), part, table, label_closing_token=settings.label_closing_token)

    parts = cut(table.context_bytes[table.context])
    numbers = {"num_features": 0, "num_tokens": 0, "longest_tokens": 0, "num_questions": len(table)}
    with durable_file(path) as file, pa.ipc.new_file(file, FEATURES_SCHEMA) as writer:
        for part, batch in zip(parts, workers.map(batch_of, parts), strict=True):
            writer.write_batch(batch)
            lengths = np.diff(batch.column("input_ids").offsets.to_numpy())
            numbers["num_features"] += len(lengths)
            numbers["num_tokens"] += int(lengths.sum())
            numbers["longest_tokens"] = max(numbers["longest_tokens"], int(lengths.max(initial=0)))
            count.add(part.stop - part.start)
    return numbers


def _batch(rows: Rows, part: slice, table: QuestionTable, *, label_closing_token: bool) -> pa.RecordBatch:
    """Return the windows of the questions in ``part`` with their labels."""
    question = part.start + rows.question
    labels = label_windows(
        rows.char_starts, rows.char_ends, rows.char_offsets, table.answer_starts[question], table.answer_ends[question]
    )
    start = rows.context_start + labels.start
    if label_closing_token:
        start = np.where(labels.starts_in_last, np.diff(rows.input_offsets) - 1, start)
    columns = [
        pa.array(question.astype(np.int32)),
        pa.array(table.id_hashes(part)[rows.question]),
        pa.array(rows.context_start.astype(np.int16)),
        pa.array(rows.context_length.astype(np.int16)),
        pa.array(np.where(labels.holds, start, 0).astype(np.int16)),
        pa.array(np.where(labels.holds, rows.context_start + labels.end, 0).astype(np.int16)),
        _lists(rows.input_ids, rows.input_offsets),
        _lists(rows.char_starts, rows.char_offsets),
        _lists(rows.char_ends, rows.char_offsets),
    ]
    return pa.record_batch(columns, schema=FEATURES_SCHEMA)


def _lists(values: Tokens, offsets: Integers) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    tokenizer.save_pretrained(str(folder))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only"):  # how it was loaded: not a property of the tokenizer
        config.pop(name, None)
    # Like its siblings, flushed to the disk with the whole artifact.
    path.write_text(json.dumps(config, sort_keys=True, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _pad_token_id(tokenizer: Any, log: Callable[[str], None]) -> int:
    """Return the id that fills up padded batches; attention masks hide it, so any will do where there is none."""
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    chosen = 0 if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
    log(f"the tokenizer has no padding token: token {chosen} stands in for it")
    return chosen
