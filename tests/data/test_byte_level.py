"""The byte-level encoder against the tokenizers library on text of every kind."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from podsquad.data import byte_level as module
from podsquad.data.backend import plain_backend
from podsquad.data.byte_level import ByteLevelEncoder, why_not_byte_level
from podsquad.data.encoded import Encoded
from tests.data.texts import bert, byte_level_parts, generic, gpt2, make_text, roberta, xlm_roberta

TOKENIZERS = {
    "roberta": roberta,
    "untrimmed": lambda: roberta(trim_offsets=False),
    "gpt2": gpt2,
    "special-tokens-split": lambda: roberta(split_special_tokens=True),
}


def assert_same(encoded: Encoded, backend: Tokenizer, texts: list[str]) -> None:
    assert len(encoded) == len(texts)
    assert encoded.char_starts is not None
    assert encoded.char_ends is not None
    for place, text in enumerate(texts):
        own = backend.encode(text, add_special_tokens=False)
        part = slice(encoded.offsets[place], encoded.offsets[place + 1])
        assert encoded.ids[part].tolist() == own.ids, repr(text)
        pairs = zip(encoded.char_starts[part].tolist(), encoded.char_ends[part].tolist(), strict=True)
        assert list(pairs) == own.offsets, repr(text)


def made_texts(seed: int, number: int) -> list[str]:
    dice = random.Random(seed)
    return [make_text(dice, dice.randint(0, 60)) for _ in range(number)]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_texts_of_many_scripts(kind: str) -> None:
    backend = plain_backend(TOKENIZERS[kind]())
    encoder = ByteLevelEncoder(backend)
    texts = made_texts(3, 150)
    assert_same(encoder.encode(texts), backend, texts)
    ids_alone = encoder.encode(texts, with_offsets=False)
    assert ids_alone.char_starts is None
    np.testing.assert_array_equal(ids_alone.ids, encoder.encode(texts).ids)
    np.testing.assert_array_equal(ids_alone.offsets, encoder.encode(texts).offsets)


def test_characters_of_all_of_unicode_between_those_that_matter() -> None:
    backend = plain_backend(roberta())
    dice = random.Random(9)
    points = [point for point in range(1, 0x110000, 61) if not 0xD800 <= point < 0xE000]
    dice.shuffle(points)
    around = ("", " ", "  ", "a", "1", "'", "'s", "'ll", "!", "\n", "\0")
    texts = [
        "".join(dice.choice(around) + chr(point) + dice.choice(around) for point in points[first : first + 200])
        for first in range(0, len(points), 200)
    ]
    assert_same(ByteLevelEncoder(backend).encode(texts), backend, texts)


def test_every_short_string_over_the_characters_that_the_cuts_depend_on() -> None:
    backend = plain_backend(roberta())
    letters = "a 's1!\n"
    texts = ["".join(letters[number // 7**place % 7] for place in range(5)) for number in range(7**5)][::3]
    texts += [
        "'" + middle + end
        for middle in ("re", "ve", "ll", "r", "v", "l", "d", "t", "m")
        for end in ("", "x", " ", "'s")
    ]
    assert_same(ByteLevelEncoder(backend).encode(texts), backend, texts)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["", "", ""],
        ["\0"],
        ["\0", "\0\0", ""],
        ["a", "", "a"],
        [" "],
        ["é"],
        ["", "<s>", ""],
        ["a</s>b", "x", "<mask> y"],
    ],
    ids=repr,
)
def test_small_and_empty_texts(texts: list[str]) -> None:
    backend = plain_backend(roberta())
    assert_same(ByteLevelEncoder(backend).encode(texts), backend, texts)


def test_added_tokens_of_all_kinds() -> None:
    tokenizer = generic()
    extra = [AddedToken("<ent>", lstrip=True, rstrip=True), AddedToken("Ulm", single_word=True), AddedToken("a\0b")]
    tokenizer.add_tokens(extra)
    backend = plain_backend(tokenizer)
    texts = ["to  <ent>  Ulm", "Ulmer", "a\0b", "a", "b", "plain", "Ulm"]  # "a", "b": the token spans the two
    assert_same(ByteLevelEncoder(backend).encode(texts), backend, texts)


def test_many_threads_and_fresh_memos_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMO_BYTES", 20_000)  # begins anew every few calls
    backend = plain_backend(roberta())
    encoder = ByteLevelEncoder(backend)
    pieces = [made_texts(seed, 20) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(encoder.encode, pieces))
    for texts, encoded in zip(pieces, results, strict=True):
        assert_same(encoded, backend, texts)


def lacking_a_byte() -> Any:
    vocab, _ = byte_level_parts()
    left = {token: index for token, index in vocab.items() if token != "z"}
    backend = Tokenizer(models.BPE(left, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: roberta(), ""),
        (lambda: gpt2(), ""),
        (lambda: roberta(add_prefix_space=True), "it puts a space before each text"),
        (
            lambda: generic(post_processor=processors.ByteLevel(add_prefix_space=True)),
            "it puts a space before each text",
        ),
        (lambda: generic(normalizer=normalizers.NFC()), "it normalizes text (NFC)"),
        (lambda: generic(pre_tokenizer=pre_tokenizers.Whitespace()), "it is not a byte-level BPE cut by GPT-2's"),
        (lambda: generic(pre_tokenizer=pre_tokenizers.ByteLevel(False, use_regex=False)), "it is not a byte-level BPE"),
        (lambda: generic(dropout=0.5), "its merges depend on dropout"),
        (bert, "it is not a byte-level BPE"),
        (xlm_roberta, "it is not a byte-level BPE"),
        (lacking_a_byte, "its vocabulary does not hold all 256 bytes"),
    ],
)
def test_tokenizers_that_it_would_not_reproduce_are_told(make: Any, reason: str) -> None:
    made = make()
    told = why_not_byte_level(made if isinstance(made, Tokenizer) else made.backend_tokenizer)
    assert told.startswith(reason)
    assert bool(told) == bool(reason)
