"""Byte-level BPE on whole arrays: the ids and character offsets of many texts at once.

The texts lie end to end. GPT-2's regular expression becomes comparisons of neighbouring characters' classes, the
words between its cuts are made unique by Arrow, and only words never seen before go through the tokenizer itself.
Offsets follow from the tokens' lengths in bytes.

Nothing is assumed about Unicode: which characters are letters, numbers or white space is asked of the tokenizer's
own pre-tokenizer, for each character when it first occurs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, models, pre_tokenizers

from podsquad.data.backend import describe, encode_with_offsets
from podsquad.data.encoded import Encoded, join_encoded
from podsquad.data.windows import Integers, Tokens, offsets_of, ragged_indices

# Classes of characters, in GPT-2's expression: \p{L}, \p{N}, neither of them nor white space, \s.
_LETTER, _NUMBER, _OTHER, _SPACE, _BORDER, _UNKNOWN = 0, 1, 2, 3, 4, 255
_SPACE_BYTE = "Ġ"  # how byte-level vocabularies write a space
_MEMO_BYTES = 64 * 2**20  # words and ids remembered; a fresh memo begins beyond it
_APOSTROPHE = ord("'")
_NO_UTF8 = "\xff"  # as a byte, none that UTF-8 has; as a character, how byte-level vocabularies write that byte
# How byte-level vocabularies write bytes: printable characters of Latin-1 as themselves, the rest from U+0100 on.
_AS_THEMSELVES = frozenset((*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)))
_OTHERS = {byte: chr(0x100 + place) for place, byte in enumerate(sorted(set(range(256)) - _AS_THEMSELVES))}


class ByteLevelEncoder:
    """Encode texts as a byte-level BPE of the tokenizers library does. One object serves many threads."""

    def __init__(self, backend: Tokenizer) -> None:
        """Take a Tokenizer for which ``why_not_byte_level`` returns nothing; it is used as it is and not changed."""
        self._backend = backend
        self._trims = _trims_offsets(describe(backend)["post_processor"])
        self._added = [token.content for token in backend.get_added_tokens_decoder().values()]
        self._classes = np.full(0x110000, _UNKNOWN, np.uint8)
        self._splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        self._spellings = _Spellings(backend.model)
        self._memo = _Memo(backend.model, self._spellings)
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], *, with_offsets: bool = True) -> Encoded:
        """Return ids and, unless told not to, character offsets of each text, without special tokens."""
        if not texts:
            return Encoded.empty()
        joined = "\0".join(texts)
        if any(content in joined for content in self._added):
            return self._encode_around_added(texts, with_offsets)
        return self._encode_plain(texts, with_offsets)

    def _encode_around_added(self, texts: Sequence[str], with_offsets: bool) -> Encoded:
        """Leave texts that spell out a special token, such as "<s>", to the tokenizer, which cuts them there."""
        parts: list[Encoded] = []
        plain: list[str] = []
        for text in texts:
            if not any(content in text for content in self._added):
                plain.append(text)
                continue
            if plain:
                parts.append(self._encode_plain(plain, with_offsets))
                plain = []
            parts.append(encode_with_offsets(self._backend, [text]))
        if plain:
            parts.append(self._encode_plain(plain, with_offsets))
        return join_encoded(parts, with_offsets=with_offsets)

    def _encode_plain(self, texts: Sequence[str], with_offsets: bool) -> Encoded:
        joined = "\0".join(texts) + "\0"
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        borders = np.cumsum(lengths + 1) - 1  # index of the character that closes each text
        data = joined.encode()
        ascii_only = len(data) == len(joined)
        points = np.frombuffer(data, np.uint8) if ascii_only else np.frombuffer(joined.encode("utf-32-le"), np.uint32)
        word_starts, word_borders = _cut_words(points, self._classify(points), borders)
        if ascii_only:
            first_bytes = word_starts
        else:
            begins_char = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80  # the bytes of UTF-8 that begin a character
            first_bytes = np.flatnonzero(begins_char)[word_starts]
        words = _words(data, first_bytes)
        memo, known = self._look_up(words.dictionary)
        places = known[words.indices.to_numpy()]
        counts = memo.counts[places].astype(np.int64)
        counts[word_borders] = 0
        word_tokens = offsets_of(counts)
        ids: Tokens = memo.ids[ragged_indices(memo.firsts[places].astype(np.int64), counts)]
        offsets = np.concatenate([np.zeros(1, np.int64), word_tokens[word_borders]])
        if not with_offsets:
            return Encoded(ids, None, None, offsets)

        num_bytes = self._spellings.num_bytes[ids]
        ends = np.cumsum(num_bytes, dtype=np.int64)
        per_text = np.diff(offsets)
        starts: Integers
        if ascii_only:
            before = np.concatenate([np.zeros(1, np.int64), ends])[offsets[:-1]]
            ends -= np.repeat(before, per_text)
            starts = ends - num_bytes
        else:
            # The border after each text is a byte of the data but of no token.
            ends += np.repeat(np.arange(len(texts)), per_text)
            char_of_byte = np.cumsum(begins_char) - 1
            text_starts = np.repeat(borders - lengths, per_text)
            # A character whose bytes are split over tokens belongs to each of them.
            starts = char_of_byte[ends - num_bytes] - text_starts
            ends = char_of_byte[ends - 1] + 1 - text_starts
        if self._trims:
            starts = np.minimum(starts + self._spellings.leading[ids], ends)
            ends = np.maximum(ends - self._spellings.trailing[ids], starts)
        return Encoded(ids, starts.astype(np.int32), ends.astype(np.int32), offsets)

    def _classify(self, points: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        classes: npt.NDArray[np.uint8] = self._classes[points]
        if _UNKNOWN in classes:
            for point in np.unique(points[classes == _UNKNOWN]).tolist():
                self._classes[point] = self._class_of(chr(point))
            classes = self._classes[points]
        return classes

    def _class_of(self, char: str) -> int:
        for before, kind in (("a", _LETTER), ("1", _NUMBER), ("!", _OTHER)):
            if len(self._splitter.pre_tokenize_str(before + char)) == 1:
                return kind
        return _SPACE

    def _look_up(self, words: pa.BinaryArray) -> tuple[_Memo, Integers]:
        """Return a memo that knows all the words, and their places in it."""
        spellings: list[bytes] = words.to_pylist()
        memo, size = self._memo, len(self._memo)
        known = memo.places(spellings)
        if known.min(initial=0) < 0:
            with self._lock:
                if self._memo.num_bytes > _MEMO_BYTES:
                    self._memo = _Memo(self._backend.model, self._spellings)  # other threads may still read the old one
                if self._memo is not memo or len(memo) != size:
                    memo = self._memo
                    known = memo.places(spellings)
                new = np.flatnonzero(known < 0)
                if len(new):  # no other thread was first
                    known[new] = memo.learn([spellings[index] for index in new.tolist()])
        return memo, known


class _Spellings:
    """How many bytes each token has, and how many spaces it begins and ends with, by id, of the tokens seen so far."""

    def __init__(self, model: models.Model) -> None:
        self._model = model
        self.num_bytes: Tokens = np.zeros(0, np.int32)
        self.leading: Tokens = np.zeros(0, np.int32)
        self.trailing: Tokens = np.zeros(0, np.int32)

    def learn(self, ids: Tokens) -> None:
        """Ask for the tokens that are new; the whole vocabulary would take longer than most texts."""
        more = np.zeros(max(int(ids.max(initial=-1)) + 1 - len(self.num_bytes), 0), np.int32)
        known = [np.concatenate([array, more]) for array in (self.num_bytes, self.leading, self.trailing)]
        is_new = np.zeros(len(known[0]), np.bool_)
        is_new[ids] = True
        new = np.flatnonzero(is_new & (known[0] == 0))
        tokens = pa.array([self._model.id_to_token(index) for index in new.tolist()], pa.string())
        num_bytes = _num_chars(tokens)  # a character of a byte-level vocabulary is one byte
        leading = num_bytes - _num_chars(pc.utf8_ltrim(tokens, _SPACE_BYTE))
        trailing = num_bytes - _num_chars(pc.utf8_rtrim(tokens, _SPACE_BYTE))
        for array, values in zip(known, (num_bytes, leading, trailing), strict=True):
            array[new] = values
        # New arrays: other threads may read the old ones meanwhile, at ids that those hold.
        self.num_bytes, self.leading, self.trailing = known


def _num_chars(texts: pa.StringArray) -> Tokens:
    counts: Tokens = pc.utf8_length(texts).to_numpy()
    return counts


class _Memo:
    """Words and their ids. It only grows, so that places stay valid for threads that read without the lock."""

    def __init__(self, model: models.Model, spellings: _Spellings) -> None:
        # The merges alone: the tokenizer itself would cut words that are cut already, and twice as long.
        self._merges = Tokenizer(model)
        self._merges.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_NO_UTF8)
        self._spellings = spellings
        self._places: dict[bytes, int] = {}
        self.ids: Tokens = np.zeros(0, np.int32)
        self.firsts: Tokens = np.zeros(0, np.int32)
        self.counts: Tokens = np.zeros(0, np.int32)
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def places(self, words: Sequence[bytes]) -> Integers:
        return np.fromiter(map(self._places.get, words, repeat(-1)), np.int64, len(words))

    def learn(self, words: Sequence[bytes]) -> Integers:
        """Add words, all different and not known yet, and return their places."""
        # As the words of one text: its one list of ids costs far less than an object per word, and its tokens' bytes
        # tell where words end.
        text = _spell(_NO_UTF8.encode("latin-1").join(words))
        (encoding,) = self._merges.encode_batch_fast([text], add_special_tokens=False)
        flat = np.array(encoding.ids, np.int32)
        self._spellings.learn(flat)
        word_ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
        token_ends = np.cumsum(self._spellings.num_bytes[flat], dtype=np.int64)
        counts = np.diff(np.searchsorted(token_ends, word_ends, side="right"), prepend=0).astype(np.int32)
        firsts = len(self.ids) + offsets_of(counts.astype(np.int64))[:-1]
        self.ids = np.concatenate([self.ids, flat])
        self.firsts = np.concatenate([self.firsts, firsts.astype(np.int32)])
        self.counts = np.concatenate([self.counts, counts])
        places = range(len(self._places), len(self._places) + len(words))
        # Last: a place becomes visible to other threads only when the arrays hold it.
        self._places.update(zip(words, places, strict=True))
        # 150: a dictionary's entry, a bytes object's head and an int, as CPython 3.11 stores them.
        self.num_bytes += int(word_ends[-1]) + 4 * len(flat) + 150 * len(words)
        return np.arange(places.start, places.stop)


def _spell(data: bytes) -> str:
    """Return bytes as byte-level vocabularies write them: GPT-2's table (``bytes_to_unicode`` of its encoder.py)."""
    text = data.decode("latin-1")
    for byte in set(data) - _AS_THEMSELVES:
        text = text.replace(chr(byte), _OTHERS[byte])
    return text


def why_not_byte_level(backend: Tokenizer) -> str:
    """Return the reason why ByteLevelEncoder would not reproduce this tokenizer; nothing when it would."""
    state = describe(backend)
    model, splitter = state["model"], state["pre_tokenizer"] or {}
    if model["type"] != "BPE" or splitter.get("type") != "ByteLevel" or not splitter.get("use_regex", True):
        return "it is not a byte-level BPE cut by GPT-2's expression"
    if splitter.get("add_prefix_space") or _mentions(state["post_processor"], "add_prefix_space"):
        return "it puts a space before each text"
    if state["normalizer"] is not None:
        return f"it normalizes text ({state['normalizer']['type']})"
    if model.get("dropout") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return "its merges depend on dropout or on marks inside words"
    if None in map(backend.model.token_to_id, pre_tokenizers.ByteLevel.alphabet()):
        return "its vocabulary does not hold all 256 bytes"
    if _trims_offsets(state["post_processor"]) is None:
        return "its post-processor is of an unknown kind"
    return ""


def _trims_offsets(processor: Any) -> bool | None:
    """Return whether a post-processor takes white space off offsets; None for an unknown kind."""
    kind = processor["type"] if processor else None
    if kind in ("RobertaProcessing", "ByteLevel"):
        return bool(processor["trim_offsets"])
    if kind == "Sequence":
        parts = [_trims_offsets(part) for part in processor["processors"]]
        return None if None in parts else any(parts)
    return False if kind in (None, "TemplateProcessing", "BertProcessing") else None


def _mentions(state: Any, name: str) -> bool:
    if isinstance(state, dict):
        return bool(state.get(name)) or any(_mentions(value, name) for value in state.values())
    return isinstance(state, list) and any(_mentions(value, name) for value in state)


def _cut_words(
    points: npt.NDArray[Any], classes: npt.NDArray[np.uint8], borders: Integers
) -> tuple[Integers, Integers]:
    """Cut texts where GPT-2's expression does; return the words' first characters and which words are borders.

    Each border is a word of its own. ``classes`` is changed.
    """
    classes[borders] = _BORDER
    starts = np.empty(len(points), np.bool_)
    starts[0] = True
    np.not_equal(classes[1:], classes[:-1], out=starts[1:])
    starts[borders] = True
    # Of white space before anything else, the last character stands apart; a plain space joins what follows.
    last_space = np.flatnonzero((classes[:-1] == _SPACE) & (classes[1:] < _SPACE))
    starts[last_space] = True
    starts[last_space + 1] = points[last_space] != ord(" ")
    # 's 't 'm 'd 're 've 'll, where a word could begin.
    marks = np.flatnonzero((points == _APOSTROPHE) & starts)
    if len(marks):
        near = points[np.minimum(marks + 1, len(points) - 1)]
        next_ = points[np.minimum(marks + 2, len(points) - 1)]
        short = marks[_among(near, "stmd")]
        long = marks[(_among(near, "rv") & (next_ == ord("e"))) | ((near == ord("l")) & (next_ == ord("l")))]
        starts[short + 1] = False
        starts[short + 2] = True
        starts[long + 1] = False
        starts[long + 3] = True
    word_starts = np.flatnonzero(starts)
    return word_starts, np.flatnonzero(classes[word_starts] == _BORDER)


def _among(points: npt.NDArray[Any], chars: Iterable[str]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(points), np.bool_)
    for char in chars:
        found |= points == ord(char)
    return found


def _words(data: bytes, first_bytes: Integers) -> pa.DictionaryArray:
    """Return the words that begin at those bytes and tile ``data``, each spelling stored once; nothing is copied."""
    offsets = np.empty(len(first_bytes) + 1, np.int32)
    offsets[:-1] = first_bytes
    offsets[-1] = len(data)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(first_bytes), buffers).dictionary_encode()
