"""A features folder of any size and mean length, out of real text in SQuAD's layout.

All contexts lie end to end in one stream of tokens. A feature is a question of the text and a piece of the stream that
holds its answer; how long the piece is follows the text's own lengths, stretched or shrunk to the mean that is asked
for, and where it begins is drawn. So questions repeat, but hardly any feature does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.gpu.recipe import Scale
from podsquad.data.arrow import FEATURES_SCHEMA, hash_id

VOCAB_SIZE, PAD, START, END = 50_265, 1, 0, 2  # roberta-base's
LONGEST_QUESTION = 64


@dataclass(frozen=True)
class Question:
    """A question, the tokens of the stream that answer it, and how many tokens its own context has."""

    ids: np.ndarray
    first: int
    last: int
    context_tokens: int


@dataclass(frozen=True)
class Text:
    """The stream: token ids, and where each token stands in the text."""

    text: str
    ids: np.ndarray
    char_starts: np.ndarray
    char_ends: np.ndarray
    questions: list[Question]
    tokens_are: str


def read_text(files: list[Path], tokenizer: Path | None) -> Text:
    """Read files in SQuAD v1.1's layout. Without a tokenizer every word is a token."""
    encode, tokens_are = _encoder(tokenizer)
    texts, ids, starts, ends, questions = [], [], [], [], []
    tokens = characters = 0
    for file in files:
        paragraphs = [each for part in json.loads(file.read_text("utf-8"))["data"] for each in part["paragraphs"]]
        for paragraph in paragraphs:
            here, begins, stops = encode(paragraph["context"])
            for qa in paragraph["qas"]:
                answer = qa["answers"][0]
                first = int(np.searchsorted(stops, answer["answer_start"], side="right"))
                past = int(np.searchsorted(begins, answer["answer_start"] + len(answer["text"]), side="left"))
                if first < past:
                    asked = encode(qa["question"].lstrip())[0][:LONGEST_QUESTION]
                    questions.append(Question(asked, tokens + first, tokens + past - 1, len(here)))
            texts.append(paragraph["context"])
            ids.append(here)
            starts.append(begins + characters)
            ends.append(stops + characters)
            tokens += len(here)
            characters += len(paragraph["context"]) + 1
    if not questions:
        raise SystemExit("no question of the text has an answer: SQuAD v1.1's layout is expected")
    flat = (np.concatenate(each) for each in (ids, starts, ends))
    return Text("\n".join(texts), *flat, questions, tokens_are)


def make_features(folder: Path, text: Text, scale: Scale) -> dict[str, Any]:
    """Write the features folder and ``<folder>/questions.json`` (contexts and answers of the validation split).

    Returns what was made, for the result.
    """
    folder.mkdir(parents=True)
    made: dict[str, Any] = {"tokens_are": text.tokens_are, "questions_of_the_text": len(text.questions), "splits": {}}
    layout: dict[str, Any] = {"max_length": scale.longest_tokens, "stride": 128, "vocab_size": VOCAB_SIZE}
    layout |= {"pad_token_id": PAD, "uses_token_types": False, "splits": {}}
    for seed, (split, count) in enumerate((("train", scale.train_features), ("validation", scale.validation_features))):
        table, told = _make_split(text, scale, count, np.random.default_rng(seed))
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, FEATURES_SCHEMA) as writer:
            writer.write_table(table)
        lengths = table.column("input_ids").combine_chunks().value_lengths().to_numpy()
        layout["splits"][split] = {
            "num_features": count,
            "num_tokens": int(lengths.sum()),
            "longest_tokens": int(lengths.max()),
            "num_questions": count,
        }
        made["splits"][split] = {"features": count, "mean_tokens": round(float(lengths.mean()), 2)}
        made["splits"][split] |= {
            "longest_tokens": int(lengths.max()),
            "standard_deviation": round(float(lengths.std()), 1),
        }
        if split == "validation":
            (folder / "questions.json").write_text(json.dumps(told), "utf-8")
    (folder / "layout.json").write_text(json.dumps(layout), "utf-8")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text("{}", "utf-8")
    return made


def _make_split(
    text: Text, scale: Scale, count: int, rng: np.random.Generator
) -> tuple[pa.Table, dict[str, list[str]]]:
    order = np.concatenate([rng.permutation(len(text.questions)) for _ in range(-(-count // len(text.questions)))])
    asked = [text.questions[index] for index in order[:count]]
    lengths = _lengths(asked, scale, rng)
    columns: dict[str, list[Any]] = {name: [] for name in FEATURES_SCHEMA.names}
    contexts, answers = [], []
    for row, (question, length) in enumerate(zip(asked, lengths.tolist(), strict=True)):
        room = length - len(question.ids) - 4
        low = max(0, question.last + 1 - room)
        first = int(rng.integers(low, max(low, min(question.first, len(text.ids) - room)) + 1))
        past, before = min(first + room, len(text.ids)), len(question.ids) + 3
        begin = int(text.char_starts[first])
        columns["question_index"].append(row)
        columns["question_hash"].append(hash_id(str(row)))
        columns["context_start"].append(before)
        columns["context_length"].append(past - first)
        columns["start_position"].append(before + question.first - first)
        columns["end_position"].append(before + question.last - first)
        columns["input_ids"].append(
            np.concatenate([[START], question.ids, [END, END], text.ids[first:past], [END]]).astype(np.int32)
        )
        columns["char_starts"].append((text.char_starts[first:past] - begin).astype(np.int32))
        columns["char_ends"].append((text.char_ends[first:past] - begin).astype(np.int32))
        contexts.append(text.text[begin : int(text.char_ends[past - 1])])
        answers.append(text.text[int(text.char_starts[question.first]) : int(text.char_ends[question.last])])
    arrays = [_array(columns[field.name], field.type) for field in FEATURES_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=FEATURES_SCHEMA), {"contexts": contexts, "answers": answers}


def _lengths(asked: list[Question], scale: Scale, rng: np.random.Generator) -> np.ndarray:
    """Return the length of each feature: its own, by a factor that brings the mean to what is asked for."""
    least = np.array([len(each.ids) + 4 + each.last - each.first + 1 for each in asked])
    own = np.array([len(each.ids) + 4 + each.context_tokens for each in asked]) * rng.uniform(0.8, 1.2, len(asked))
    low, high = 0.01, 100.0
    for _ in range(40):
        factor = (low * high) ** 0.5
        lengths = np.clip(
            (own * factor).astype(np.int64), np.minimum(least, scale.longest_tokens), scale.longest_tokens
        )
        low, high = (factor, high) if lengths.mean() < scale.mean_tokens else (low, factor)
    if (least > scale.longest_tokens).any():
        raise SystemExit(f"an answer and its question do not fit into {scale.longest_tokens} tokens")
    return lengths


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in values])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values), kind.value_type)).cast(kind)


def _encoder(tokenizer: Path | None) -> tuple[Any, str]:
    if tokenizer is None:
        words: dict[str, int] = {}

        def by_words(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            places, place = [], 0
            for word in text.split():
                place = text.index(word, place)
                places.append((words.setdefault(word, 4 + len(words) % (VOCAB_SIZE - 5)), place, place + len(word)))
                place += len(word)
            table = np.array(places, np.int64).reshape(-1, 3)
            return table[:, 0], table[:, 1], table[:, 2]

        return by_words, "words: no tokenizer was given"
    from transformers import RobertaTokenizerFast

    fast = RobertaTokenizerFast.from_pretrained(str(tokenizer))

    def by_tokenizer(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = fast(text, add_special_tokens=False, return_offsets_mapping=True)
        places = np.array(made["offset_mapping"], np.int64).reshape(-1, 2)
        return np.array(made["input_ids"], np.int64), places[:, 0], places[:, 1]

    return by_tokenizer, "roberta-base's byte-level BPE"
