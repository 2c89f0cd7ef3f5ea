"""Settings are put together from defaults, profile, environment and what the caller sets; every mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podsquad.config.fields import settings_fields
from podsquad.config.load import load_settings, parse_overrides
from podsquad.config.settings import PROFILE_NAMES, Settings
from podsquad.errors import SettingsError

FILES = {"data.train_file": "train.json", "data.validation_file": "dev.json"}


def refused(
    overrides: dict[str, Any], environ: dict[str, str] | None = None, profile: str | None = None
) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings(profile, overrides, environ)
    return caught.value


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_every_profile_loads(profile: str) -> None:
    loaded = load_settings(profile, FILES if profile == "cpu" else {})
    assert loaded.settings.profile == profile
    assert loaded.origins.keys() == settings_fields().keys()
    assert any(origin == f"profile {profile}" for origin in loaded.origins.values())


def test_the_cpu_profile_wants_its_files_named() -> None:
    assert refused({}, profile="cpu").what == (
        'data.source "files" needs data.train_file and data.validation_file: set both to SQuAD v1.1 JSON files'
    )


@pytest.mark.parametrize(
    ("profile", "environ", "expected"),
    [
        (None, {}, "demo"),
        (None, {"PODSQUAD_PROFILE": "gpu"}, "gpu"),
        (None, {"PODSQUAD_PROFILE": ""}, "demo"),
        ("demo", {"PODSQUAD_PROFILE": "gpu"}, "demo"),
    ],
)
def test_the_profile_is_chosen_by_the_caller_then_the_environment(
    profile: str | None, environ: dict[str, str], expected: str
) -> None:
    loaded = load_settings(profile, environ=environ)
    assert loaded.settings.profile == expected
    assert loaded.origins["profile"] == "chosen"


def test_the_later_layer_wins_and_every_value_knows_its_origin() -> None:
    environ = {
        "PODSQUAD_TRAINING__BATCH_SIZE": "8",
        "PODSQUAD_TRAINING__EPOCHS": "7",
        "PODSQUAD_TRACEBACK": "1",
        "HOME": "/root",
    }
    loaded = load_settings("demo", {"training.epochs": "9"}, environ)
    training = loaded.settings.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.beta1) == (9, 8, 1e-3, 0.9)
    names = ("epochs", "batch_size", "learning_rate", "beta1")
    assert [loaded.origins[f"training.{name}"] for name in names] == ["set", "environment", "profile demo", "default"]


def test_nothing_is_read_from_the_environment_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSQUAD_TRAINING__EPOCHS", "77")
    assert load_settings("demo").settings.training.epochs == 3


def test_text_and_values_are_taken_alike() -> None:
    as_text = {"training.drop_last": "true", "training.learning_rate": "1e-4", "training.epochs": "2", **FILES}
    as_values = {"training.drop_last": True, "training.learning_rate": 1e-4, "training.epochs": 2, **FILES}
    assert load_settings("demo", as_text).settings == load_settings("demo", as_values).settings


@pytest.mark.parametrize("nothing", ["none", "None", "null", "NULL", None])
def test_none_is_nothing_where_nothing_may_be(nothing: str | None) -> None:
    assert load_settings("demo", {"training.max_gradient_norm": nothing}).settings.training.max_gradient_norm is None
    environ = {"PODSQUAD_MODEL__DROPOUT": str(nothing)}
    assert load_settings("demo", environ=environ).settings.model.dropout is None


def test_none_is_a_word_like_any_other_where_something_must_be() -> None:
    assert load_settings("demo", {"publish.name": "none"}).settings.publish.name == "none"
    assert (
        "training.epochs = 'none' (from --set): Input should be a valid integer"
        in refused({"training.epochs": "none"}).what
    )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"training.epochs": 0}, "training.epochs = 0 (from the form): "),
        ({"training.epoch": 1}, "there is no setting 'training.epoch' (from the form)"),
    ],
)
def test_a_message_says_where_the_caller_was_given_a_value(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings("demo", overrides, set_by="the form")
    assert caught.value.what.startswith(told)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("training.learning_rte", "did you mean training.learning_rate"),
        ("learning_rate", "did you mean training.learning_rate"),
        ("training", None),
        ("zzz.qqq", None),
        ("", None),
        ("training.epochs.more", "did you mean training.epochs"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_what_is_near(name: str, suggestion: str | None) -> None:
    error = refused({name: "1"})
    assert error.what == f"there is no setting {name!r} (from --set)"
    assert error.do.endswith("podsquad config show lists all of them")
    if suggestion:
        assert error.do.startswith(suggestion)


def test_an_unknown_name_of_the_environment_is_told_as_it_stands_there() -> None:
    error = refused({}, {"PODSQUAD_TRAINING__EPOCH": "1"})
    assert error.what == "there is no setting 'training.epoch' (from PODSQUAD_TRAINING__EPOCH)"
    assert "training.epochs" in error.do


def test_the_profile_is_no_field_to_set() -> None:
    assert refused({"profile": "gpu"}).do == "use --profile or PODSQUAD_PROFILE"


def test_an_unknown_profile_is_refused_with_those_that_are_there() -> None:
    error = refused({}, profile="pod15")
    assert error.what == "there is no profile 'pod15'"
    assert error.do == "choose one of: demo, cpu, gpu, pod16, pod16-emulated"
    assert refused({}, {"PODSQUAD_PROFILE": "../demo"}).what == "there is no profile '../demo'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.learning_rate", "0"),
        ("training.learning_rate", "nan"),
        ("training.weight_decay", "inf"),
        ("training.weight_decay", "-1"),
        ("training.epochs", "1.5"),
        ("training.batch_size", ""),
        ("training.seed", str(2**63)),
        ("training.precision", "float64"),
        ("ipu.pod", "pod15"),
        ("ipu.layers_per_ipu", "4,-1"),
        ("ipu.layers_per_ipu", ""),
        ("ipu.matmul_proportion", "1.5"),
        ("model.dropout", "1"),
        ("data.max_bad_share", "1.1"),
        ("features.max_length", "16"),
        ("features.tokenizer", ""),
        ("model.base", "\udcff"),
        ("publish.folder", "a\udcff"),
        ("publish.name", "../escape"),
        ("publish.name", "a/b"),
        ("runtime.device", "ipu"),
        ("runtime.threads", "0"),
        ("retry.retries", "21"),
        ("runtime.hang_seconds", "inf"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_origin(name: str, value: str) -> None:
    error = refused({name: value})
    assert error.what.startswith(f"{name} = {value!r} (from --set): ")
    assert "podsquad config show" in error.do
    variable = "PODSQUAD_" + name.upper().replace(".", "__")
    assert refused({}, {variable: value}).what.startswith(f"{name} = {value!r} (from {variable}): ")


def test_all_that_is_not_allowed_is_told_at_once() -> None:
    error = refused({"training.epochs": "0", "model.num_layers": "x"}, {"PODSQUAD_RETRY__RETRIES": "-1"})
    assert [part.split(" = ")[0] for part in error.what.split("; ")] == [
        "model.num_layers", "training.epochs", "retry.retries"
    ]  # fmt: skip
    assert error.why == "3 settings are not allowed"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"model.hidden_size": 100, "model.num_heads": 3}, "hidden_size 100 is not a multiple of num_heads 3"),
        (
            {"features.stride": 240, "features.max_length": 256},
            "stride 240 leaves no room to advance in windows of features.max_length 256",
        ),
        ({"data.source": "files", "data.train_file": "x.json"}, "needs data.train_file and data.validation_file"),
    ],
    ids=["heads", "stride", "files"],
)  # fmt: skip
def test_checks_between_fields_name_both(overrides: dict[str, Any], told: str) -> None:
    error = refused(overrides)
    assert told in error.what
    assert "Value error" not in str(error)
    assert error.why == "the settings are not allowed"


def test_the_largest_stride_that_still_advances_is_allowed() -> None:
    settings = load_settings("demo", {"features.stride": 239, "features.max_length": 256}).settings
    assert settings.features.stride == 239


def test_a_leading_tilde_is_the_user_s_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    overrides = {
        "store.path": "~/store",
        "data.train_file": "~/x.json",
        "model.base": "~/model",
        "publish.folder": "a~b",
    }
    settings = load_settings("demo", overrides).settings
    assert settings.store.path == Path("/home/ada/store")
    assert settings.data.train_file == Path("/home/ada/x.json")
    assert settings.model.base == "/home/ada/model"
    assert settings.publish.folder == Path("a~b")


def test_settings_go_through_json_unchanged() -> None:
    settings = load_settings("cpu", FILES).settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("assignments", "overrides"),
    [
        ([], {}),
        (["a.b=1"], {"a.b": "1"}),
        ([" a.b = x y "], {"a.b": "x y"}),
        (["a.b=c=d"], {"a.b": "c=d"}),
        (["a.b="], {"a.b": ""}),
        (["a.b=1", "a.b=2"], {"a.b": "2"}),
    ],
)
def test_assignments_are_split_at_the_first_equals_sign(assignments: list[str], overrides: dict[str, str]) -> None:
    assert parse_overrides(assignments) == overrides


@pytest.mark.parametrize("assignment", ["training.epochs", "=5", " =5", ""])
def test_an_assignment_of_another_form_is_refused(assignment: str) -> None:
    with pytest.raises(SettingsError, match=r"is not of the form section\.field=value"):
        parse_overrides([assignment])
