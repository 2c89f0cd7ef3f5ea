"""Question-answering models of transformers 4: from a folder, from the Hub, or new; and how a trained one is written.

What is written carries transformers' plain class names, so that any version loads it. Runs on Python 3.8.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    AutoConfig,
    AutoModelForQuestionAnswering,
    RobertaConfig,
)

from podsquad.errors import InputMissingError
from podsquad.hub_files import Log, tell_nobody
from podsquad.runtimes.base_errors import explain_load_error
from podsquad.runtimes.base_model import (
    SCRATCH,
    check_fit,
    fetch_base,
    locate_base,
    refuse_other_weights,
    sizes_from_scratch,
)
from podsquad.store.durable import write_json

MODEL_FOLDER = "model"
_DROPOUT_NAMES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_PREFIX = ("PoptorchPipelined", "Poptorch", "Pipelined")


def load_config(model: Mapping[str, Any], layout: Mapping[str, Any], *, log: Log = tell_nobody) -> Any:
    """Return the transformers config of the model that the settings' ``model`` section names.

    One of the Hub is fetched, weights and all, which may take long: ``log`` gets signs of life (``fetch_listed``).
    Raises InputMissingError, TemporaryError or SettingsError when the base cannot be loaded or does not fit the
    features: it must know their vocabulary and have positions for ``max_length``.
    """
    if model["base"] == SCRATCH:
        config = RobertaConfig(**sizes_from_scratch(model, layout))
    else:
        where, options = locate_base(model)
        try:
            fetch_base(where, options, log)
            config = AutoConfig.from_pretrained(where, trust_remote_code=False, **options)
        except Exception as error:
            # "from None": a library's message may repeat request headers, and with them the token.
            raise explain_load_error(error, model["base"], model["revision"]) from None
    if model["dropout"] is not None:
        for name in _DROPOUT_NAMES:
            if hasattr(config, name):
                setattr(config, name, model["dropout"])
    check_fit(config, layout, model["base"], MODEL_FOR_QUESTION_ANSWERING_MAPPING)
    return config


def build_model(model: Mapping[str, Any], config: Any, *, seed: int, log: Log = tell_nobody) -> Any:
    """Return the model with float32 weights; weights that the base does not hold are drawn from ``seed``.

    No code that comes with the weights is run, and only safetensors are read. Raises as ``load_config`` does, and
    SettingsError when the base lacks more than the question-answering head.
    """
    torch.manual_seed(seed)
    if model["base"] == SCRATCH:
        return AutoModelForQuestionAnswering.from_config(config, trust_remote_code=False)
    where, options = locate_base(model)
    try:
        fetch_base(where, options, log)
        built, loaded = AutoModelForQuestionAnswering.from_pretrained(
            where,
            config=config,
            torch_dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        raise explain_load_error(error, model["base"], model["revision"]) from None
    refuse_other_weights(loaded["missing_keys"], built.base_model_prefix, model["base"])
    return built


def write_model(model: Any, tokenizer: Path, folder: Path) -> None:
    """Write config, weights and tokenizer to the new ``folder``: transformers 4 and 5 load it unchanged.

    ``model`` must not be parallelized. The weights keep their dtype. Raises InputMissingError without a tokenizer.
    """
    if not tokenizer.is_dir():
        raise InputMissingError(
            f"the features hold no tokenizer: {tokenizer} is not there",
            why="a model is published with the tokenizer of its features",
            do="run again with --refresh tokenize",
        )
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
