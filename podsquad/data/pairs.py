"""Pairs of question and context as windows: by putting tokenized texts together, or by the tokenizer itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from podsquad.data.backend import describe
from podsquad.data.encoded import Encoded
from podsquad.data.windows import Integers, Tokens, offsets_of, place_windows, ragged_indices
from podsquad.errors import SettingsError


@dataclass(frozen=True)
class Rows:
    """Windows, unpadded, in the order of their questions.

    ``question``, ``context_start`` and ``context_length`` are int64, one per window. Window ``i`` has the tokens
    ``input_offsets[i]`` to ``input_offsets[i + 1]`` of ``input_ids`` (int32), and its context tokens' offsets in
    characters lie at ``char_offsets[i]`` to ``char_offsets[i + 1]`` of ``char_starts`` and ``char_ends`` (int32).
    """

    question: Integers
    context_start: Integers
    context_length: Integers
    input_ids: Tokens
    input_offsets: Integers
    char_starts: Tokens
    char_ends: Tokens
    char_offsets: Integers

    def equals(self, other: Rows) -> bool:
        """Say whether all arrays hold the same numbers."""
        return all(np.array_equal(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))


@dataclass(frozen=True)
class Frame:
    """The special tokens of a pair: ``before`` question ``between`` context ``after``."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    uses_token_types: bool  # context and ``after`` are of type 1, all before them of type 0

    def __len__(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


def read_frame(tokenizer: Any) -> Frame:
    """Return the special tokens that a fast tokenizer of transformers puts around a question and a context.

    Raises SettingsError for a tokenizer whose pairs the features' layout cannot hold: padded on the left, at random,
    or with special tokens or token types in other places.
    """
    if tokenizer.padding_side != "right":
        raise _unfit(tokenizer, "it pads on the left, so its model reads the context before the question")
    model = describe(tokenizer.backend_tokenizer)["model"]
    if model["dropout"]:
        raise _unfit(tokenizer, f"it merges at random (dropout {model['dropout']}): no two runs would agree")
    probe = tokenizer(["question"], ["context"])
    ids, sequence = probe["input_ids"][0], probe.sequence_ids(0)
    of_question = [place for place, which in enumerate(sequence) if which == 0]
    of_context = [place for place, which in enumerate(sequence) if which == 1]
    if not of_question or not of_context:
        raise _unfit(tokenizer, "it has no token for a plain English word")
    parts = (of_question[0], of_question[-1] + 1, of_context[0], of_context[-1] + 1)
    plain = [None] * parts[0] + [0] * len(of_question) + [None] * (parts[2] - parts[1]) + [1] * len(of_context)
    if sequence != plain + [None] * (len(ids) - parts[3]):
        raise _unfit(tokenizer, "in its pairs, special tokens do more than stand around question and context")
    types = probe.get("token_type_ids", [[0] * len(ids)])[0]
    if any(types) and types != [0] * parts[2] + [1] * (len(ids) - parts[2]):
        raise _unfit(tokenizer, "its token types are not 0 up to the context and 1 from there on")
    special = ids[: parts[0]] + ids[parts[1] : parts[2]] + ids[parts[3] :]
    # Windows without the answer are labelled 0, which run_qa.py's label, the class token's place, must agree with.
    class_id = tokenizer.cls_token_id if tokenizer.cls_token_id in special else tokenizer.bos_token_id
    if class_id in special and ids[0] != class_id:
        raise _unfit(tokenizer, "its class token is not the first token of a pair")
    return Frame(tuple(ids[: parts[0]]), tuple(ids[parts[1] : parts[2]]), tuple(ids[parts[3] :]), any(types))


def why_not_apart(tokenizer: Any) -> str:
    """Return the reason why question and context must be tokenized as a pair; nothing when they need not be.

    The tokenizers library tokenizes the two texts of a pair one by one; they meet in the post-processor only.
    """
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    kind = type(tokenizer)
    if kind.__call__ is not TokenizersBackend.__call__ or kind._encode_plus is not TokenizersBackend._encode_plus:
        return f"its class {kind.__name__} tokenizes in a way of its own"
    if tokenizer.truncation_side != "right":
        return "it cuts windows from the end of the context"
    return _why_not_apart(describe(tokenizer.backend_tokenizer)["post_processor"])


def _why_not_apart(processor: Any) -> str:
    kind = processor["type"] if processor else None
    if kind == "Sequence":
        return next(filter(None, map(_why_not_apart, processor["processors"])), "")
    if kind in ("RobertaProcessing", "ByteLevel"):
        # Trimming spares the space put before a text, and takes each window's first token for the text's first.
        both = processor["trim_offsets"] and processor["add_prefix_space"]
        return "it puts a space before each text and trims offsets window by window" if both else ""
    return "" if kind in (None, "TemplateProcessing", "BertProcessing") else f"its post-processor {kind} is unknown"


def put_together(
    frame: Frame, questions: Encoded, contexts: Encoded, context: Integers, max_length: int, stride: int
) -> Rows:
    """Return the windows of questions and contexts that were tokenized apart.

    Question ``i`` is about ``contexts``' text ``context[i]``, which must carry character offsets. ``without_room``
    must be empty for them.
    """
    if contexts.char_starts is None or contexts.char_ends is None:
        raise ValueError("the contexts were encoded without character offsets")
    question_lengths = questions.lengths
    first_tokens, context_lengths = contexts.offsets[context], contexts.lengths[context]
    windows = place_windows(context_lengths, max_length - len(frame) - question_lengths, stride)
    asked = question_lengths[windows.question]
    context_start = len(frame.before) + asked + len(frame.between)
    input_offsets = offsets_of(len(frame) + asked + windows.length)
    starts, ends = input_offsets[:-1], input_offsets[1:]
    tokens = ragged_indices(first_tokens[windows.question] + windows.first, windows.length)
    ids = np.empty(int(input_offsets[-1]), np.int32)
    for place, index in enumerate(frame.before):
        ids[starts + place] = index
    question_tokens = ragged_indices(questions.offsets[windows.question], asked)
    ids[ragged_indices(starts + len(frame.before), asked)] = questions.ids[question_tokens]
    for place, index in enumerate(frame.between):
        ids[starts + len(frame.before) + asked + place] = index
    ids[ragged_indices(starts + context_start, windows.length)] = contexts.ids[tokens]
    for place, index in enumerate(frame.after):
        ids[ends - len(frame.after) + place] = index
    return Rows(
        question=windows.question,
        context_start=context_start,
        context_length=windows.length,
        input_ids=ids,
        input_offsets=input_offsets,
        char_starts=contexts.char_starts[tokens],
        char_ends=contexts.char_ends[tokens],
        char_offsets=offsets_of(windows.length),
    )


def encode_pairs(
    tokenizer: Any, frame: Frame, questions: Sequence[str], contexts: Sequence[str], max_length: int, stride: int
) -> Rows:
    """Return the windows that the tokenizer itself makes of the pairs: slow and always right.

    The tokenizer keeps the truncation it is given here. The same question may stand beside several contexts. No pair
    may be one that the tokenizers library refuses (``without_room``): it would panic.
    """
    encoded = tokenizer(
        list(questions),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    context_start, chars, ids = [], [], encoded["input_ids"]
    for window, mapping in enumerate(encoded["offset_mapping"]):
        sequence = encoded.sequence_ids(window)
        # A window without context tokens: their place is before the closing tokens.
        first = sequence.index(1) if 1 in sequence else len(sequence) - len(frame.after)
        context_start.append(first)
        chars.append(mapping[first : len(sequence) - len(frame.after)])
    lengths = np.fromiter(map(len, chars), np.int64, len(chars))
    total = int(lengths.sum())
    input_offsets = offsets_of(np.fromiter(map(len, ids), np.int64, len(ids)))
    return Rows(
        question=np.array(encoded["overflow_to_sample_mapping"], np.int64),
        context_start=np.array(context_start, np.int64),
        context_length=lengths,
        input_ids=np.fromiter((index for row in ids for index in row), np.int32, int(input_offsets[-1])),
        input_offsets=input_offsets,
        char_starts=np.fromiter((pair[0] for row in chars for pair in row), np.int32, total),
        char_ends=np.fromiter((pair[1] for row in chars for pair in row), np.int32, total),
        char_offsets=offsets_of(lengths),
    )


def _unfit(tokenizer: Any, why: str) -> SettingsError:
    return SettingsError(
        f"the tokenizer {type(tokenizer).__name__} does not fit extractive question answering here",
        why=why,
        do="name the tokenizer of an encoder such as RoBERTa, BERT, ELECTRA or XLM-R in features.tokenizer",
    )
