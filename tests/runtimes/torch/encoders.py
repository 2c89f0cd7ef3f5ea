"""Tiny encoders of every kind that podsquad tells of, their weights large enough for attention to matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.reader import InputForm
from podsquad.runtimes.torch.static import StaticSize

VOCAB_SIZE = 50
LENGTHS = (5, 5, 9, 17, 40, 40, 33)
SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
}
DRY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
KINDS = ("roberta", "bert", "xlm-roberta", "electra", "modernbert")
PADDED_ONLY = "deberta-v2"


def make_config(kind: str, **changes: Any) -> Any:
    """Return a config without dropout; ModernBERT's local layers see 4 tokens to either side."""
    robertas = {**SIZES, **DRY, "pad_token_id": 1, "type_vocab_size": 1}
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "roberta": (RobertaConfig, robertas),
        "xlm-roberta": (XLMRobertaConfig, robertas),
        "bert": (BertConfig, {**SIZES, **DRY, "pad_token_id": 0, "type_vocab_size": 2}),
        "electra": (ElectraConfig, {**SIZES, **DRY, "pad_token_id": 0, "type_vocab_size": 2, "embedding_size": 8}),
        "modernbert": (
            ModernBertConfig,
            {**SIZES, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
            | {"local_attention": 8, "global_attn_every_n_layers": 3},
        ),
        "deberta-v2": (
            DebertaV2Config,
            {**SIZES, **DRY, "pad_token_id": 0, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        ),
    }
    maker, sizes = makers[kind]
    return maker(**{**sizes, **changes})


def make_encoder(kind: str, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    return AutoModelForQuestionAnswering.from_config(make_config(kind), dtype=torch.float32).to(dtype)


def make_sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, VOCAB_SIZE, length) for length in LENGTHS]


def form_of(model: Any, formulation: str, size: StaticSize | None = None) -> InputForm:
    """Switch the model to a formulation and return how it takes sequences then; the tokenizer tells token types."""
    model.set_attn_implementation(attention_of(formulation))
    return InputForm.of(model.config, {"uses_token_types": True}, formulation, size)
