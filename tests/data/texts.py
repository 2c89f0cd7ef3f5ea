"""Made-up text of many scripts, questions on it, and small tokenizers of every kind trained on it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from podsquad.data.dataset import write_split
from podsquad.data.squad import Answer, Record
from podsquad.data.tokenizer import train_tokenizer

_WORDS = """
the city of Ulm lies on the river and its tower is 161.53 metres high
It's I'm we'll they've he'd you're can't 'tis rock'n'roll o'clock 's 'll '' !'s
Straße naïve Übermut œuvre Ångström Zürich
Москва столица ελληνικά עברית שלום العربية مدينة हिन्दी नमस्ते ไทย ภาษา
東京 京都は日本の都市 你好世界 한국어 서울
😀 🇩🇪 ﬁ ² ½ Ⅷ ٣٤ ①
<s> </s> <mask> <pad>x [CLS] [SEP] ▁ Ġ ##x
. , ; : !? ... -- ( ) " “ ” $5 50% a_b x=1 100,000 3.14 #tag @me
"""
PIECES = (
    *_WORDS.split(),
    # Emoji of several code points, and marks in more than one order.
    *("👩\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈", "👍\U0001f3fd", "\u200d", "\ufeff"),
    *("e\u0301", "a\u0323\u0307", "a\u0307\u0323", "n\u0303\u0316"),
    *(" ", "  ", "   ", "\n", "\n\n ", "\t", "\xa0", "\u3000", "\u2028", " \r\n ", " " * 40),
    *("\x00", "\x01\x02", "\x7f", "\x85", "\x1b[0m"),
)


def make_text(dice: random.Random, num_pieces: int) -> str:
    """Return pieces strung together, mostly with single spaces."""
    return "".join(dice.choice(PIECES) + dice.choice(("", " ", " ", " ", "  ")) for _ in range(num_pieces))


def make_records(seed: int, num_contexts: int, most_pieces: int = 200) -> list[Record]:
    """Return two questions on each of so many contexts; answers of 1 to 25 characters, anywhere; every fifth twice."""
    dice = random.Random(seed)
    records = []
    for number in range(num_contexts):
        context = "A" + make_text(dice, dice.randint(1, most_pieces)) if number % 3 else make_text(dice, 40) + "Ω"
        for which in range(2):
            # Some in the very end: their start is the last context token of a window.
            start = dice.randrange(len(context)) if number % 6 or which else len(context) - 1
            text = context[start : start + dice.randint(1, 25)]
            answers = (Answer(text, start),) + ((Answer(context[0], 0),) if number % 5 == 0 else ())
            question = dice.choice(("", "  ", "\t\n")) + make_text(dice, dice.randint(1, 4)) + "?"
            records.append(Record(f"q{seed}-{number}-{which}", "T", context, question, answers, f"row {number}"))
    return records


def write_dataset(folder: Path, train: list[Record], validation: list[Record]) -> Path:
    """Write the two files of a dataset that the tokenize stage reads."""
    folder.mkdir()
    write_split(folder / "train.arrow", train)
    write_split(folder / "validation.arrow", validation)
    return folder


def training_texts() -> list[str]:
    dice = random.Random(7)
    return [make_text(dice, 60) for _ in range(60)]


@cache
def byte_level_parts() -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(train_tokenizer(iter(training_texts()), 700).backend_tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def roberta(**options: Any) -> Any:
    from transformers import RobertaTokenizer

    vocab, merges = byte_level_parts()
    return RobertaTokenizer(vocab=vocab, merges=merges, **options)


def gpt2(**options: Any) -> Any:
    from transformers import GPT2Tokenizer

    vocab, merges = byte_level_parts()
    return GPT2Tokenizer(vocab=vocab | {"<|endoftext|>": len(vocab)}, merges=merges, **options)


def generic(**parts: Any) -> Any:
    """Return RoBERTa's with other parts, as the generic class, which keeps what its files say (RoBERTa's does not)."""
    from transformers import PreTrainedTokenizerFast

    backend = roberta().backend_tokenizer
    for name, part in parts.items():
        setattr(backend.model if name == "dropout" else backend, name, part)
    named = {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


def normalized() -> Any:
    """A byte-level BPE that decomposes characters: combining marks change places, offsets go back and forth."""
    return generic(normalizer=normalizers.NFD())


def bert(kind: str = "BertTokenizer", **options: Any) -> Any:
    import transformers

    return getattr(transformers, kind)(vocab=dict(_word_pieces()), **options)


@cache
def _word_pieces() -> dict[str, int]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    backend.train_from_iterator(training_texts(), trainer)
    vocab: dict[str, int] = backend.get_vocab()
    return dict(sorted(vocab.items(), key=lambda entry: entry[1]))


def xlm_roberta() -> Any:
    from transformers import XLMRobertaTokenizer

    return XLMRobertaTokenizer(vocab=[*_unigrams(), ("<mask>", 0.0)])


@cache
def _unigrams() -> list[tuple[str, float]]:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(training_texts(), trainer)
    return [(piece, score) for piece, score in json.loads(backend.to_str())["model"]["vocab"]]


# name: maker, the start of the log line that names the route
KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "roberta": (roberta, "each context is tokenized once, as arrays"),
    "roberta-untrimmed": (lambda: roberta(trim_offsets=False), "each context is tokenized once, as arrays"),
    "roberta-special-tokens-split": (
        lambda: roberta(split_special_tokens=True),
        "each context is tokenized once, as arrays",
    ),
    "gpt2": (gpt2, "each context is tokenized once, as arrays"),
    "roberta-prefix-space": (lambda: roberta(add_prefix_space=True), "every question is tokenized together"),
    "roberta-left-truncation": (lambda: roberta(truncation_side="left"), "every question is tokenized together"),
    "roberta-normalized": (normalized, "each context is tokenized once, by the tokenizers library"),
    "bert": (bert, "each context is tokenized once, by the tokenizers library"),
    "bert-cased": (lambda: bert(do_lower_case=False), "each context is tokenized once, by the tokenizers library"),
    "electra": (lambda: bert("ElectraTokenizer"), "each context is tokenized once, by the tokenizers library"),
    "xlm-roberta": (xlm_roberta, "each context is tokenized once, by the tokenizers library"),
}
