"""Question-answering models of transformers 4: from a folder, from the Hub, or new; and how a trained one is written.

What is written carries transformers' plain class names, so that any version loads it. Runs on Python 3.8.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, RobertaConfig

from podsquad.errors import InputMissingError, SettingsError
from podsquad.runtimes.torch.base_errors import explain_load_error
from podsquad.store.durable import write_json

SCRATCH = "scratch"
MODEL_FOLDER = "model"
_DROPOUT_NAMES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_PREFIX = ("PoptorchPipelined", "Poptorch", "Pipelined")


def load_config(model: Mapping[str, Any], layout: Mapping[str, Any]) -> Any:
    """Return the transformers config of the model that the settings' ``model`` section names.

    Raises InputMissingError, TemporaryError or SettingsError when the base cannot be loaded or does not fit the
    features: it must know their vocabulary and have positions for ``max_length``.
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
            if hasattr(config, name):
                setattr(config, name, model["dropout"])
    _check_fit(config, layout, model["base"])
    return config


def build_model(model: Mapping[str, Any], config: Any, *, seed: int) -> Any:
    """Return the model with float32 weights; weights that the base does not hold are drawn from ``seed``.

    No code that comes with the weights is run, and only safetensors are read. Raises as ``load_config`` does, and
    SettingsError when the base lacks more than the question-answering head.
    """
    torch.manual_seed(seed)
    if model["base"] == SCRATCH:
        return AutoModelForQuestionAnswering.from_config(config)
    where, options = _locate(model)
    try:
        built, loaded = AutoModelForQuestionAnswering.from_pretrained(
            where,
            config=config,
            torch_dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        raise explain_load_error(error, model["base"], model["revision"]) from error
    lacking = sorted(name for name in loaded["missing_keys"] if name.startswith(built.base_model_prefix + "."))
    lacking = [name for name in lacking if not name.endswith("position_ids")]  # a counter, which is no weight
    if lacking:
        raise SettingsError(
            f"model.base {model['base']} holds no weights for {', '.join(lacking[:3])}"
            + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""),
            why="its weights are of another kind than its config says; what lacks would be drawn at random",
            do="set model.base to a complete encoder",
        )
    return built


def write_model(model: Any, tokenizer: Path, folder: Path) -> None:
    """Write config, weights and tokenizer to the new ``folder``: transformers 4 and 5 load it unchanged.

    ``model`` must not be parallelized. The weights keep their dtype. Raises InputMissingError without a tokenizer.
    """
    if not tokenizer.is_dir():
        raise InputMissingError(f"the features hold no tokenizer: {tokenizer} is not there")
    folder.mkdir(parents=True)
    weights = {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}
    config = model.config.to_dict()
    config["architectures"] = [plain_class_name(type(model).__name__)]
    config["torch_dtype"] = str(next(iter(weights.values())).dtype).partition(".")[2]
    config.pop("_name_or_path", None)  # a path of this machine
    write_json(folder / "config.json", config)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for path in sorted(tokenizer.iterdir()):
        shutil.copyfile(str(path), str(folder / path.name))


def plain_class_name(name: str) -> str:
    """Return a class's name in transformers, without what pipelining put before it."""
    prefix = next((prefix for prefix in _PREFIX if name.startswith(prefix)), "")
    return name[len(prefix) :]


def takes_token_types(config: Any, layout: Mapping[str, Any]) -> bool:
    """Tell whether the context is marked by token type 1: the tokenizer does so and the model knows two types."""
    return bool(layout["uses_token_types"]) and getattr(config, "type_vocab_size", 0) >= 2


def _check_fit(config: Any, layout: Mapping[str, Any], base: str) -> None:
    if config.vocab_size < layout["vocab_size"]:
        raise SettingsError(
            f"model.base {base} knows {config.vocab_size:,} tokens, but the features' tokenizer makes "
            f"{layout['vocab_size']:,}",
            why="the encoder and the tokenizer do not belong together",
            do="set features.tokenizer to the encoder's own, or model.base to the tokenizer's encoder",
        )
    first = int(config.pad_token_id) + 1 if "roberta" in config.model_type else 0
    room = config.max_position_embeddings - first
    if room < layout["max_length"]:
        raise SettingsError(
            f"model.base {base} reads at most {room} tokens, but features.max_length is {layout['max_length']}",
            why=f"it has {config.max_position_embeddings} positions, counted from {first}",
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
