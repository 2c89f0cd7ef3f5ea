"""Whether an encoder can run packed: its logits are held against the padded model's; no error would tell."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering

from podsquad.errors import SettingsError
from podsquad.runtimes.torch.attention import attention_of
from podsquad.runtimes.torch.reader import InputForm, token_logits

PROBE_LENGTHS = (5, 9, 9, 16)
PROBE_LAYERS = 2
PROBE_VOCABULARY = 64
PROBE_TOLERANCE = 1e-4
PROBE_MOST_TOKENS = 1024


def decide_formulation(asked: str, config: Any) -> tuple[str, str]:
    """Return "packed" or "padded", and why. Raises SettingsError for an encoder that shall run packed and cannot."""
    if asked == "padded":
        return "padded", "runtime.formulation says so"
    try:
        probe_packed(config)
    except SettingsError as error:
        if asked == "packed":
            raise
        return "padded", error.what
    return "packed", "the logits of a few probes are those of the padded model"


def probe_lengths(config: Any) -> tuple[int, ...]:
    """Return the probes' lengths in tokens; one is longer than what an encoder with local attention sees at once."""
    window = getattr(config, "sliding_window", None)
    if window is None or window >= PROBE_MOST_TOKENS:
        return PROBE_LENGTHS
    return (*PROBE_LENGTHS, min(2 * window + 3, config.max_position_embeddings))


def probe_packed(config: Any) -> float:
    """Return how far packed logits of a few random sequences are from padded ones, in standard deviations of these.

    The weights are new, float32, and large enough for attention to matter. Raises SettingsError when the logits differ
    by more than PROBE_TOLERANCE or the encoder cannot run packed at all.
    """
    small = copy.deepcopy(config)
    small.num_hidden_layers = min(PROBE_LAYERS, config.num_hidden_layers)
    small.vocab_size = min(PROBE_VOCABULARY, config.vocab_size)
    if config.pad_token_id is not None and config.pad_token_id >= small.vocab_size:
        small.pad_token_id = 0
    if hasattr(config, "initializer_range"):
        # Scores of about 1: of smaller ones every token sees the same, of larger ones rounding decides.
        head_size = config.hidden_size / config.num_attention_heads
        small.initializer_range = math.sqrt(2 / config.hidden_size) * head_size**-0.25
    layout = {"uses_token_types": True}
    rng = np.random.default_rng(0)
    lengths = probe_lengths(config)
    sequences = [rng.integers(0, small.vocab_size, length) for length in lengths]
    sequences = [np.where(ids == small.pad_token_id, (ids + 1) % small.vocab_size, ids) for ids in sequences]
    type_starts = np.array(lengths) // 2
    logits = []
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            model = AutoModelForQuestionAnswering.from_config(
                small, trust_remote_code=False, attn_implementation=attention_of("packed"), dtype=torch.float32
            ).eval()
            for formulation in ("packed", "padded"):
                if formulation == "padded":
                    model.set_attn_implementation(attention_of(formulation))
                batch = InputForm.of(small, layout, formulation).batch(sequences, type_starts)
                logits.append(token_logits(model, batch)[0][batch.row_tokens][batch.row_mask])
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise SettingsError(
            f"{config.model_type} cannot run packed: {type(error).__name__}: {error}",
            why="two sequences were run in one buffer, before the training, and its code refused them",
            do="set runtime.formulation=padded",
        ) from error
    difference = float((logits[0] - logits[1]).abs().max() / logits[1].std())
    if not difference <= PROBE_TOLERANCE:
        raise SettingsError(
            f"{config.model_type} cannot run packed: its logits differ from the padded model's by {difference:.2g} of "
            "their spread",
            why="its attention lets packed sequences see each other, or it numbers positions in a way of its own",
            do="set runtime.formulation=padded",
        )
    return difference
