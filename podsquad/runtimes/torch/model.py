"""Question-answering models: from a folder, from the Hub, or new; always transformers' own classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering
from transformers.models.roberta.configuration_roberta import RobertaConfig

from podsquad.errors import InputMissingError, SettingsError
from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.base_errors import explain_load_error

SCRATCH = "scratch"
# Encoders made like fairseq's RoBERTa count positions from padding_idx + 1 (transformers' create_position_ids).
_COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text")
_DROPOUT_NAMES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embedding_dropout", "mlp_dropout", "classifier_dropout"),  # ModernBERT's
)


def load_config(model: Mapping[str, Any], layout: Mapping[str, Any]) -> Any:
    """Return the transformers config of the model that the settings' ``model`` section names.

    A model from scratch is a RoBERTa with the features' vocabulary and room for their ``max_length``. Raises
    InputMissingError, TemporaryError or SettingsError when the base cannot be loaded, and SettingsError when it
    does not fit the features (``check_fit``).
    """
    if model["base"] == SCRATCH:
        config = _new_config(model, layout)
    else:
        where, options = _locate(model)
        try:
            config = AutoConfig.from_pretrained(where, **options)
        except Exception as error:
            raise explain_load_error(error, model["base"], model["revision"]) from error
    if model["dropout"] is not None:
        for name in _DROPOUT_NAMES:
            if getattr(config, name, None) is not None:
                setattr(config, name, model["dropout"])
    check_fit(config, layout, model["base"])
    return config


def build_model(model: Mapping[str, Any], config: Any, *, seed: int, formulation: str) -> Any:
    """Return the model with float32 weights on the CPU; weights that the base does not hold are drawn from ``seed``.

    No code that comes with the weights is run, and only safetensors are read. Raises as ``load_config`` does, and
    SettingsError when the base lacks more than the question-answering head.
    """
    torch.manual_seed(seed)
    implementation = attention_of(formulation)
    if model["base"] == SCRATCH:
        return AutoModelForQuestionAnswering.from_config(
            config, attn_implementation=implementation, dtype=torch.float32
        )
    where, options = _locate(model)
    try:
        built, loaded = AutoModelForQuestionAnswering.from_pretrained(
            where,
            config=config,
            attn_implementation=implementation,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        raise explain_load_error(error, model["base"], model["revision"]) from error
    lacking = sorted(name for name in loaded["missing_keys"] if name.startswith(built.base_model_prefix + "."))
    if lacking:
        raise SettingsError(
            f"model.base {model['base']} holds no weights for {', '.join(lacking[:3])}"
            + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""),
            why="its weights are of another kind than its config says; what lacks would be drawn at random",
            do="set model.base to a complete encoder",
        )
    return built


def trained_section(folder: Path) -> dict[str, Any]:
    """Return a ``model`` section that names what a training saved in ``folder``."""
    return {"base": str(folder), "revision": None, "dropout": None}


def first_position(config: Any) -> int:
    """Return the position id of a sequence's first token."""
    return int(config.pad_token_id) + 1 if config.model_type in _COUNT_FROM_PADDING else 0


def takes_token_types(config: Any, layout: Mapping[str, Any]) -> bool:
    """Tell whether the context is marked by token type 1: the tokenizer does so and the model knows two types."""
    return bool(layout["uses_token_types"]) and getattr(config, "type_vocab_size", 0) >= 2


def check_fit(config: Any, layout: Mapping[str, Any], base: str) -> None:
    """Raise SettingsError unless the model knows the features' vocabulary and has positions for their length."""
    if config.vocab_size < layout["vocab_size"]:
        raise SettingsError(
            f"model.base {base} knows {config.vocab_size:,} tokens, but the features' tokenizer makes "
            f"{layout['vocab_size']:,}",
            why="the encoder and the tokenizer do not belong together",
            do="set features.tokenizer to the encoder's own, or model.base to the tokenizer's encoder",
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    room = positions - first_position(config)
    if room < layout["max_length"]:
        raise SettingsError(
            f"model.base {base} reads at most {room} tokens, but features.max_length is {layout['max_length']}",
            why=f"it has {positions} positions, counted from {first_position(config)}",
            do=f"set features.max_length={room} or lower",
        )


def _new_config(model: Mapping[str, Any], layout: Mapping[str, Any]) -> Any:
    padding = layout["pad_token_id"]
    padding = 1 if padding is None else padding
    return RobertaConfig(
        vocab_size=layout["vocab_size"],
        hidden_size=model["hidden_size"],
        num_hidden_layers=model["num_layers"],
        num_attention_heads=model["num_heads"],
        intermediate_size=model["intermediate_size"],
        max_position_embeddings=layout["max_length"] + padding + 1,
        type_vocab_size=2 if layout["uses_token_types"] else 1,
        pad_token_id=padding,
        layer_norm_eps=1e-5,
    )


def _locate(model: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what from_pretrained is told: a folder that is there, or a name of the Hub with its revision."""
    base: str = model["base"]
    if os.path.isdir(base):
        return base, {"local_files_only": True, "trust_remote_code": False}
    if os.path.exists(base) or base.startswith(("/", ".", "~")) or base.endswith("/") or base.count("/") > 1:
        raise InputMissingError(
            f"model.base names {base}, which is no folder",
            why="a folder of a transformers model is expected there: config.json and model.safetensors",
            do="check model.base",
        )
    return base, {"revision": model["revision"], "trust_remote_code": False}
