"""What every runtime asks of the model that a training begins with, whatever the version of its transformers.

Takes configs as they come and imports no library but the Hub's, when it is asked; runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from podsquad.errors import InputMissingError, SettingsError
from podsquad.hub_files import Log, fetch_listed

SCRATCH = "scratch"
_MODEL_FILES = re.compile(r"config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
# Encoders made like fairseq's RoBERTa count positions from padding_idx + 1 (transformers' create_position_ids).
_COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text")


def first_position(config: Any) -> int:
    """Return the position id of a sequence's first token."""
    return int(config.pad_token_id) + 1 if config.model_type in _COUNT_FROM_PADDING else 0


def takes_token_types(config: Any, layout: Mapping[str, Any]) -> bool:
    """Tell whether the context is marked by token type 1: the tokenizer does so and the model knows two types."""
    return bool(layout["uses_token_types"]) and getattr(config, "type_vocab_size", 0) >= 2


def check_fit(config: Any, layout: Mapping[str, Any], base: str, known: Container[type]) -> None:
    """Raise SettingsError unless the model answers questions, knows the features' vocabulary and reads their length.

    ``known`` are the configs' classes that transformers has a question-answering model for.
    """
    if type(config) not in known or not hasattr(config, "vocab_size"):
        raise SettingsError(
            f"model.base {base} is of the kind {config.model_type}, which answers no questions about texts",
            why="transformers has no extractive question-answering model of that kind",
            do="set model.base to an encoder that it has one for, such as a BERT or a RoBERTa",
        )
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


def refuse_other_weights(missing: Iterable[str], prefix: str, base: str) -> None:
    """Raise SettingsError when the base lacks more than the question-answering head.

    ``missing`` are the weights that were not found, ``prefix`` is the encoder's. A counter of positions is no weight.
    """
    encoder = sorted(name for name in missing if name.startswith(prefix + "."))
    lacking = [name for name in encoder if not name.endswith("position_ids")]
    if lacking:
        raise SettingsError(
            f"model.base {base} holds no weights for {', '.join(lacking[:3])}"
            + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""),
            why="its weights are of another kind than its config says; what lacks would be drawn at random",
            do="set model.base to a complete encoder",
        )


def sizes_from_scratch(model: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a RobertaConfig is made of: the settings' sizes, the features' vocabulary, room for their length."""
    padding = layout["pad_token_id"]
    padding = 1 if padding is None else padding
    return {
        "vocab_size": layout["vocab_size"],
        "hidden_size": model["hidden_size"],
        "num_hidden_layers": model["num_layers"],
        "num_attention_heads": model["num_heads"],
        "intermediate_size": model["intermediate_size"],
        "max_position_embeddings": layout["max_length"] + padding + 1,
        "type_vocab_size": 2 if layout["uses_token_types"] else 1,
        "pad_token_id": padding,
        "layer_norm_eps": 1e-5,
    }


def locate_base(model: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what from_pretrained is told: a folder that is there, or a name of the Hub with its revision.

    Raises InputMissingError for a path that is no folder.
    """
    base: str = model["base"]
    if os.path.isdir(base):
        return base, {"local_files_only": True}
    if os.path.exists(base) or base.startswith(("/", ".", "~")) or base.endswith("/") or base.count("/") > 1:
        raise InputMissingError(
            f"model.base names {base}, which is no folder",
            why="a folder of a transformers model is expected there: config.json and model.safetensors",
            do="check model.base",
        )
    return base, {"revision": model["revision"]}


def fetch_base(where: str, options: Mapping[str, Any], log: Log) -> None:
    """Bring config and weights of a name of the Hub here before transformers looks for them; nothing for a folder.

    Takes what ``locate_base`` returns; ``log`` gets the signs of life of ``fetch_listed``. Raises what the Hub's client
    raises.
    """
    if "revision" in options:
        fetch_listed(where, options["revision"] or "main", lambda path: bool(_MODEL_FILES.fullmatch(path)), log)
