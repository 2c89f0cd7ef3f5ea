"""Question-answering models: from a folder, from the Hub, or new; always transformers' own classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING, AutoModelForQuestionAnswering
from transformers.models.roberta.configuration_roberta import RobertaConfig

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
from podsquad.runtimes.torch.attention import attention_of

_DROPOUT_NAMES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embedding_dropout", "mlp_dropout", "classifier_dropout"),  # ModernBERT's
)


def load_config(model: Mapping[str, Any], layout: Mapping[str, Any], *, log: Log = tell_nobody) -> Any:
    """Return the transformers config of the model that the settings' ``model`` section names.

    A model from scratch is a RoBERTa with the features' vocabulary and room for their ``max_length``. One of the Hub is
    fetched, weights and all, which may take long: ``log`` gets signs of life (``fetch_listed``). Raises
    InputMissingError, TemporaryError or SettingsError when the base cannot be loaded, and SettingsError when it
    does not fit the features (``check_fit``).
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
            if getattr(config, name, None) is not None:
                setattr(config, name, model["dropout"])
    check_fit(config, layout, model["base"], MODEL_FOR_QUESTION_ANSWERING_MAPPING)
    return config


def build_model(model: Mapping[str, Any], config: Any, *, seed: int, formulation: str, log: Log = tell_nobody) -> Any:
    """Return the model with float32 weights on the CPU; weights that the base does not hold are drawn from ``seed``.

    No code that comes with the weights is run, and only safetensors are read. Raises as ``load_config`` does, and
    SettingsError when the base lacks more than the question-answering head.
    """
    torch.manual_seed(seed)
    implementation = attention_of(formulation)
    if model["base"] == SCRATCH:
        return AutoModelForQuestionAnswering.from_config(
            config, trust_remote_code=False, attn_implementation=implementation, dtype=torch.float32
        )
    where, options = locate_base(model)
    try:
        fetch_base(where, options, log)
        built, loaded = AutoModelForQuestionAnswering.from_pretrained(
            where,
            config=config,
            attn_implementation=implementation,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        raise explain_load_error(error, model["base"], model["revision"]) from None
    refuse_other_weights(loaded["missing_keys"], built.base_model_prefix, model["base"])
    return built


def trained_section(folder: Path) -> dict[str, Any]:
    """Return a ``model`` section that names what a training saved in ``folder``."""
    return {"base": str(folder), "revision": None, "dropout": None}
