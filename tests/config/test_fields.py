"""The walk over the settings' fields."""

from __future__ import annotations

import pytest

from podsquad.config.fields import settings_fields, shaping_values
from podsquad.config.load import load_settings
from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings


def test_every_field_is_found_once_with_a_sentence_that_says_what_it_is() -> None:
    fields = settings_fields()
    assert list(fields)[:2] == ["profile", "store.path"]
    assert len(fields) == 1 + sum(
        len(type(getattr(Settings(), section)).model_fields)
        for section in Settings.model_fields
        if section != "profile"
    )
    for name, field in fields.items():
        assert field.name == name
        assert field.description.endswith("."), name
        assert "\n" not in field.description


def test_a_field_finds_its_value() -> None:
    settings = load_settings("demo", {"training.epochs": 5}).settings
    assert settings_fields()["training.epochs"].value_in(settings) == 5
    assert settings_fields()["profile"].value_in(settings) == "demo"


def test_shapes_name_stages_and_no_stage_twice() -> None:
    for field in settings_fields().values():
        assert set(field.shapes) <= set(STAGE_NAMES)
        assert len(set(field.shapes)) == len(field.shapes)


@pytest.mark.parametrize(
    ("name", "type_name", "may_be_none", "is_content"),
    [
        ("store.path", "path", False, False),
        ("data.train_file", "path", True, True),
        ("data.source", "demo | files | hub", False, False),
        ("features.tokenizer", "text", False, True),
        ("features.tokenizer_revision", "text", True, False),
        ("features.label_closing_token", "bool", False, False),
        ("model.dropout", "float", True, False),
        ("training.epochs", "int", False, False),
        ("publish.folder", "path", False, False),
    ],
)
def test_a_field_tells_what_it_holds(name: str, type_name: str, may_be_none: bool, is_content: bool) -> None:
    field = settings_fields()[name]
    assert (field.type_name, field.may_be_none, field.is_content) == (type_name, may_be_none, is_content)


def test_shaping_values_are_the_json_values_of_the_fields_that_shape_a_stage() -> None:
    settings = load_settings("demo", {"publish.folder": "models"}).settings
    assert shaping_values(settings, "publish") == {
        "gate.margin_f1": 5.0,
        "gate.confidence": 0.95,
        "gate.resamples": 10_000,
        "gate.guarded_slices": ["answer_length", "question_word"],
        "gate.slice_margin_f1": 3.0,
        "gate.incomparable": "keep",
        "publish.target": "folder",
        "publish.folder": "models",
        "publish.name": "demo-reader",
    }
    hub = load_settings("demo", {"publish.target": "hub", "publish.repository": "me/reader"}).settings
    assert shaping_values(hub, "publish").keys() - shaping_values(settings, "publish").keys() == {"publish.repository"}
    assert "publish.folder" not in shaping_values(hub, "publish")
    assert "training.learning_rate" in shaping_values(settings, "train")
    assert "training.learning_rate" not in shaping_values(settings, "compile")


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("training.learning_rate", "more than 0 and at most 1"),
        ("training.epochs", "at least 1"),
        ("training.seed", "at least 0"),
        ("runtime.device", ""),
    ],
)
def test_a_field_tells_its_bounds(name: str, bounds: str) -> None:
    assert settings_fields()[name].bounds == bounds
