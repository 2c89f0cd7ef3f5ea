"""The tokenizers library under a fast tokenizer of transformers: what it is made of, and texts through it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from podsquad.data.encoded import Encoded
from podsquad.data.windows import offsets_of


def plain_backend(tokenizer: Any) -> Tokenizer:
    """Return a fast tokenizer's core after making it neither truncate nor pad, whatever its files or last call said.

    The next call of ``tokenizer`` may change that again.
    """
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens  # else set by the first call only
    return backend


def describe(backend: Tokenizer) -> dict[str, Any]:
    """Return the parts of a tokenizer as its tokenizer.json has them, but of the model its type and switches alone.

    The model's vocabulary and merges would take tenths of a second to write and to read.
    """
    shell = Tokenizer(models.BPE())
    for name in ("normalizer", "pre_tokenizer", "post_processor"):
        if getattr(backend, name) is not None:
            setattr(shell, name, getattr(backend, name))
    state: dict[str, Any] = json.loads(shell.to_str())
    switches = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    state["model"] = {name: getattr(backend.model, name, None) for name in switches}
    state["model"]["type"] = type(backend.model).__name__
    return state


class LibraryEncoder:
    """Encode texts by the tokenizers library itself. One object serves many threads."""

    def __init__(self, backend: Tokenizer) -> None:
        """Take a Tokenizer that neither truncates nor pads."""
        self._backend = backend

    def encode(self, texts: Sequence[str], *, with_offsets: bool = True) -> Encoded:
        """Return ids and, unless told not to, character offsets of each text, without special tokens."""
        if with_offsets:
            return encode_with_offsets(self._backend, texts)
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        counts = np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings))
        ids = np.fromiter((index for encoding in encodings for index in encoding.ids), np.int32, int(counts.sum()))
        return Encoded(ids, None, None, offsets_of(counts))


def encode_with_offsets(backend: Tokenizer, texts: Sequence[str]) -> Encoded:
    """Encode each text by the tokenizer itself, without special tokens, truncation and padding."""
    encodings = backend.encode_batch(list(texts), add_special_tokens=False)
    counts = np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings))
    total = int(counts.sum())
    ids = np.fromiter((index for encoding in encodings for index in encoding.ids), np.int32, total)
    pairs = (place for encoding in encodings for pair in encoding.offsets for place in pair)
    chars = np.fromiter(pairs, np.int32, 2 * total)
    return Encoded(ids, chars[::2].copy(), chars[1::2].copy(), offsets_of(counts))
