"""Tiny question-answering models with random weights, to be asked in tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer, RobertaConfig, RobertaForQuestionAnswering

from podsquad.data.tokenizer import train_tokenizer

SENTENCES = [
    "Ada Lovelace was born in London in 1815.",
    "She wrote the first program for Babbage's engine.",
    "Émilie du Châtelet translated Newton's Principia — into French.",
    "漢字 and 😀 take several tokens each.",
]
QUESTION = "Where was Ada born?"
SHORT = " ".join(SENTENCES * 2)
LONG = " ".join(f"{number}: {SENTENCES[number % 4]}" for number in range(120))
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
WINDOW = 64  # tokens


def roberta_config(vocab_size: int) -> RobertaConfig:
    # A wide initial spread, so that random logits differ by more than rounding.
    return RobertaConfig(
        vocab_size=vocab_size, max_position_embeddings=WINDOW + 2, type_vocab_size=1, initializer_range=0.5, **SIZES
    )


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roberta")
    tokenizer = train_tokenizer(iter(SENTENCES * 2), 400)
    torch.manual_seed(7)
    RobertaForQuestionAnswering(roberta_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    tokenizer = BertTokenizer(vocab=words.get_vocab(), do_lower_case=False)
    torch.manual_seed(8)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=WINDOW, initializer_range=0.5, **SIZES)
    BertForQuestionAnswering(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(roberta: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(roberta, tmp_path / "model"))
