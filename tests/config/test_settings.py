"""The settings' models: frozen, closed, documented."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from podsquad.config.data_settings import DataSettings
from podsquad.config.load import load_settings
from podsquad.config.publish_settings import GateSettings
from podsquad.config.settings import Settings
from podsquad.config.training_settings import ModelSettings, TrainingSettings
from podsquad.errors import SettingsError


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().training.epochs = 3


def test_unknown_names_are_refused_in_every_section() -> None:
    for section in Settings.model_fields:
        if section != "profile":
            with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
                Settings.model_validate({section: {"unknown": 1}})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings.model_validate({"unknown": {}})


def test_the_defaults_are_the_reference_run_s() -> None:
    # The model card of the reference: 2 epochs, 256 per step, 6e-5 with a quarter of warm-up, no clipping; its windows.
    training = TrainingSettings()
    assert (training.epochs, training.batch_size, training.learning_rate) == (2, 256, 6e-5)
    assert (training.warmup_share, training.weight_decay, training.max_gradient_norm) == (0.25, 0.01, None)
    assert (Settings().features.max_length, Settings().features.stride) == (384, 128)
    assert DataSettings().hub_dataset == "rajpurkar/squad"


def test_bounds_hold_for_defaults_and_updates_alike() -> None:
    with pytest.raises(ValidationError, match="hidden_size 130 is not a multiple of num_heads 4"):
        ModelSettings(hidden_size=130)
    assert ModelSettings(hidden_size=136, num_heads=8).hidden_size == 136


@pytest.mark.parametrize(
    ("value", "slices"),
    [
        ("", ()),
        ("question_word", ("question_word",)),
        (" question_word:why , answer_length:1 word,", ("answer_length:1 word", "question_word:why")),
        (["context_length:250+ words", "context_length:250+ words"], ("context_length:250+ words",)),
    ],
)
def test_guarded_slices_are_a_list_or_a_text_with_commas(value: object, slices: tuple[str, ...]) -> None:
    gate = GateSettings.model_validate({"guarded_slices": value})
    assert gate.guarded_slices == slices
    assert GateSettings.model_validate_json(gate.model_dump_json()) == gate


@pytest.mark.parametrize("name", ["question word", "question_word:", "question_word=why", "a:b:c"])
def test_what_cannot_be_a_slice_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="names no slice: write view:slice or a view"):
        GateSettings(guarded_slices=(name,))


@pytest.mark.parametrize(("runtime", "precision"), [("torch", "float16"), ("ipu", "bfloat16")])
def test_each_runtime_has_its_own_16_bits(runtime: str, precision: str) -> None:
    with pytest.raises(SettingsError, match=f"training.precision {precision} is not for runtime.name {runtime}"):
        load_settings("demo", {"runtime.name": runtime, "training.precision": precision})
    other = {"float16": "bfloat16", "bfloat16": "float16"}[precision]
    assert (
        load_settings("demo", {"runtime.name": runtime, "training.precision": other}).settings.runtime.name == runtime
    )
