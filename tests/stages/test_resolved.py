"""Settings as they enter a key, and as the work needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podsquad.config.fields import settings_fields
from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import Settings
from podsquad.errors import InputMissingError
from podsquad.stages import resolved
from podsquad.stages.catalog import STAGES
from podsquad.stages.libraries import library_versions
from podsquad.stages.resolved import (
    key_settings,
    names_a_path,
    resolve_device,
    runtime_sections,
    tokenizer_settings,
)
from podsquad.stages.run import stage_ingredients
from podsquad.stages.runtimes import RUNTIMES
from podsquad.store.keys import key_of
from tests.stages.fakes import FakeStages
from tests.stages.test_libraries import another_spelling_of_this_interpreter

# Another valid value of every setting, seen from FakeStages.settings(). "<file>" and "<folder>" stand for made-up ones.
OTHER_VALUES: dict[str, Any] = {
    "profile": "gpu",
    "store.path": "elsewhere",
    "store.lease_seconds": 30.0,
    "data.source": "hub",
    "data.train_file": "<file>",
    "data.validation_file": "<file>",
    "data.hub_dataset": "someone/squad",
    "data.hub_revision": "main",
    "data.expected_train_questions": 4000,
    "data.expected_validation_questions": 600,
    "data.max_bad_share": 0.5,
    "data.demo_seed": 7,
    "data.demo_train_questions": 40,
    "data.demo_validation_questions": 60,
    "features.tokenizer": "FacebookAI/roberta-base",
    "features.tokenizer_revision": "main",
    "features.vocab_size": 300,
    "features.max_length": 128,
    "features.stride": 32,
    "features.label_closing_token": True,
    "features.workers": 2,
    "model.base": "<folder>",
    "model.revision": "main",
    "model.hidden_size": 256,
    "model.num_layers": 2,
    "model.num_heads": 8,
    "model.intermediate_size": 64,
    "model.dropout": 0.2,
    "training.epochs": 1,
    "training.batch_size": 16,
    "training.micro_batch_tokens": 4096,
    "training.learning_rate": 2e-3,
    "training.warmup_share": 0.2,
    "training.weight_decay": 0.02,
    "training.beta1": 0.8,
    "training.beta2": 0.98,
    "training.epsilon": 1e-6,
    "training.max_gradient_norm": None,
    "training.seed": 7,
    "training.precision": "bfloat16",
    "training.drop_last": True,
    "training.checkpoint_interval_steps": 7,
    "runtime.python": another_spelling_of_this_interpreter(),
    "runtime.device": "cuda",
    "runtime.formulation": "padded",
    "runtime.processes": 2,
    "training.balanced": True,
    "runtime.compiled": "never",
    "runtime.threads": 3,
    "runtime.hang_seconds": 7.0,
    "evaluation.num_best": 7,
    "evaluation.max_answer_tokens": 7,
    "evaluation.batch_tokens": 1024,
    "runtime.exclusive": "always",
    "runtime.exclusive_wait_seconds": 1.0,
    "runtime.lock_folder": "elsewhere",
    "runtime.name": "ipu",
    "runtime.emulated": True,
    "ipu.pod": "pod32",
    "ipu.ipus_per_host": 8,
    "ipu.ipus_per_replica": 2,
    "ipu.layers_per_ipu": (1, 1),
    "ipu.replication": 2,
    "ipu.gradient_accumulation": 8,
    "ipu.micro_batch": 2,
    "ipu.device_iterations": 2,
    "ipu.inference_replication": 2,
    "ipu.inference_micro_batch": 4,
    "ipu.inference_device_iterations": 2,
    "ipu.loss_scaling": 128.0,
    "ipu.stochastic_rounding": False,
    "ipu.bias_correction": False,
    "ipu.half_partials": False,
    "ipu.matmul_proportion": (0.5,),
    "ipu.recompute": False,
    "ipu.replicated_tensor_sharding": False,
    "ipu.optimizer_state_offchip": True,
    "ipu.embedding_serialization": 2,
    "ipu.config_file": "<file>",
    "ipu.hosts": ("a", "b"),
    "ipu.partition": "p",
    "gate.margin_f1": 2.0,
    "gate.confidence": 0.9,
    "gate.resamples": 2000,
    "gate.guarded_slices": ("question_word:why",),
    "gate.slice_margin_f1": 4.0,
    "gate.incomparable": "publish",
    "publish.target": "hub",
    "publish.folder": "elsewhere",
    "publish.name": "other",
    "publish.repository": "me/reader",
    "publish.private": True,
    "publish.token_block": "hub-token",
    "retry.retries": 0,
    "retry.delay_seconds": 0.0,
    "retry.stage_timeout_seconds": 60.0,
}


@pytest.fixture(autouse=True)
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolved, "_has_nvidia_device", lambda: False)


def keys_of(settings: Settings) -> dict[str, str]:
    """Return the keys of all stages, the input artifacts being the same."""
    digests = dict.fromkeys(STAGE_NAMES, "same")
    return {name: key_of(stage_ingredients(name, settings, digests)) for name in STAGE_NAMES}


def changed(settings: Settings, name: str, value: Any) -> Settings:
    values = settings.model_dump()
    section, _, field = name.rpartition(".")
    (values[section] if section else values)[field] = value
    return Settings.model_validate(values)


def test_every_setting_has_another_value_here() -> None:
    assert OTHER_VALUES.keys() == settings_fields().keys()


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_a_setting_changes_the_keys_of_the_stages_that_it_shapes_and_no_others(
    name: str, fake_stages: FakeStages, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "folder").mkdir()
    stand_ins = {"<file>": tmp_path / "file", "<folder>": str(tmp_path / "folder")}
    value = OTHER_VALUES[name]
    field = settings_fields()[name]
    before = fake_stages.settings()
    if field.when:
        (tmp_path / "given").write_text("[]")
        given = {"train_file": tmp_path / "given", "validation_file": tmp_path / "given"}
        before = before.model_copy(update={"data": before.data.model_copy(update=given)})
        before = changed(before, *field.when)
    after = changed(before, name, stand_ins.get(value, value) if isinstance(value, str) else value)
    assert field.value_in(after) != field.value_in(before)
    old, new = keys_of(before), keys_of(after)
    assert {stage for stage in STAGE_NAMES if old[stage] != new[stage]} == set(field.shapes)


@pytest.mark.parametrize("name", [name for name, field in settings_fields().items() if field.when])
def test_a_setting_that_is_not_read_changes_no_key(name: str, fake_stages: FakeStages, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    others = {
        "data.source": ("hub", "demo"),
        "features.tokenizer": ("demo",),
        "model.base": ("demo",),
        "runtime.name": ("ipu", "torch"),
        "publish.target": ("hub", "folder"),
    }
    condition, value = settings_fields()[name].when
    other_condition = next(other for other in others[condition] if other != value)
    before = changed(fake_stages.settings(), condition, other_condition)
    other = OTHER_VALUES[name]
    after = changed(before, name, tmp_path / "file" if other == "<file>" else other)
    assert keys_of(before) == keys_of(after)


def test_a_runtime_with_the_same_libraries_has_the_same_keys_wherever_it_lies() -> None:
    # With the real stages' libraries: fake_stages leaves them out.
    names = RUNTIMES["torch"].libraries
    assert library_versions(names, another_spelling_of_this_interpreter()) == library_versions(names)


def test_the_digest_of_an_input_is_in_the_key(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings()
    for name in STAGE_NAMES:
        same = dict.fromkeys(STAGE_NAMES, "same")
        from_others = {
            other
            for other in STAGE_NAMES
            if key_of(stage_ingredients(name, settings, same | {other: "x"}))
            != key_of(stage_ingredients(name, settings, same))
        }
        assert from_others == set(STAGES[name].inputs)


def test_content_counts_and_its_path_does_not(fake_stages: FakeStages, tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / f"{name}.json").write_text("other" if name == "3" else "same")
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("other" if name == "3" else "same")
    settings = [
        fake_stages.settings(
            data__source="files",
            data__train_file=tmp_path / f"{name}.json",
            data__validation_file=tmp_path / f"{name}.json",
            features__tokenizer=f"{tmp_path}/{name}",
            model__base=f"{tmp_path}/{name}",
        )
        for name in ("1", "2", "3")
    ]
    first, second, third = map(keys_of, settings)
    assert first == second
    assert {stage for stage in STAGE_NAMES if first[stage] != third[stage]} == {
        "download",
        "tokenize",
        "compile",
        "train",
    }
    assert str(tmp_path) not in str([key_settings(settings[0], stage) for stage in STAGE_NAMES[:-1]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.train_file", "absent.json"),
        ("data.train_file", "x" * 5000),
        ("features.tokenizer", "./absent"),
        ("features.tokenizer", "/absent/folder"),
        ("features.tokenizer", "a/b/c"),
        ("model.base", "absent/"),
    ],
)
def test_a_path_that_is_not_there_is_an_error(name: str, value: str, fake_stages: FakeStages) -> None:
    source = "files" if name.startswith("data.") else "demo"
    given = {"data__source": source, "data__validation_file": __file__}
    settings = fake_stages.settings(**(given | {name.replace(".", "__"): value}))
    stage = settings_fields()[name].shapes[0]
    with pytest.raises(InputMissingError, match=f"^{name} names .* which is not there") as caught:
        key_settings(settings, stage)
    assert f"--set {name}=PATH" in caught.value.do


def test_a_folder_is_no_data_file(fake_stages: FakeStages, tmp_path: Path) -> None:
    settings = fake_stages.settings(data__source="files", data__train_file=tmp_path, data__validation_file=__file__)
    with pytest.raises(InputMissingError, match="which is a folder, not a file"):
        key_settings(settings, "download")


@pytest.mark.parametrize("name", ["roberta-base", "FacebookAI/roberta-base", "scratch", "train"])
def test_names_of_the_hub_and_words_count_as_they_are(name: str, fake_stages: FakeStages) -> None:
    if name != "train":
        assert key_settings(fake_stages.settings(model__base=name), "train")["model.base"] == name
    if name != "scratch":
        settings = fake_stages.settings(features__tokenizer=name)
        assert key_settings(settings, "tokenize")["features.tokenizer"] == name


def test_the_demo_s_encoder_counts_by_its_content(
    fake_stages: FakeStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolved, "ENCODER_FOLDER", tmp_path / "encoder")
    settings = fake_stages.settings(model__base="demo", features__tokenizer="demo")
    with pytest.raises(InputMissingError):
        key_settings(settings, "train")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    base = key_settings(settings, "train")["model.base"]
    assert base.keys() == {"sha256"}
    assert key_settings(settings, "tokenize")["features.tokenizer"] == base
    assert tokenizer_settings(settings).tokenizer == str(tmp_path / "encoder")
    assert runtime_sections(settings)["model"]["base"] == str(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("roberta-base", False), ("a/b", False), ("a.b/c.d", False),
        ("/a", True), ("./a", True), ("../a", True), ("~/a", True), ("a/", True), ("a/b/c", True),
    ],
)  # fmt: skip
def test_what_can_only_be_a_path(name: str, is_path: bool) -> None:
    assert names_a_path(name) == is_path


@pytest.mark.parametrize(
    ("device", "has_nvidia", "expected"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", False, "cuda")],
)
def test_auto_is_what_the_machine_has(
    device: str, has_nvidia: bool, expected: str, fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolved, "_has_nvidia_device", lambda: has_nvidia)
    assert resolve_device(device) == expected
    settings = fake_stages.settings(runtime__device=device)
    assert key_settings(settings, "train")["runtime.device"] == expected
    assert runtime_sections(settings)["runtime"]["device"] == expected


def test_a_runtime_gets_its_sections_as_json(fake_stages: FakeStages) -> None:
    sections = runtime_sections(fake_stages.settings(runtime__python="/usr/bin/python3"))
    assert sections.keys() == {"model", "training", "runtime", "evaluation"}
    assert sections["runtime"]["python"] == "/usr/bin/python3"
    assert sections["training"]["learning_rate"] == 1e-3


def test_other_tokenizers_stay_as_they_are(fake_stages: FakeStages) -> None:
    settings = fake_stages.settings(features__tokenizer="someone/words")
    assert tokenizer_settings(settings) == settings.features


def test_a_known_name_of_the_hub_means_one_commit(fake_stages: FakeStages) -> None:
    commit = resolved.KNOWN_REVISIONS["FacebookAI/roberta-base"]
    names = {"features__tokenizer": "FacebookAI/roberta-base", "model__base": "FacebookAI/roberta-base"}
    settings = fake_stages.settings(**names)
    assert tokenizer_settings(settings).tokenizer_revision == commit
    assert runtime_sections(settings)["model"]["revision"] == commit
    assert key_settings(settings, "tokenize")["features.tokenizer_revision"] == commit
    assert key_settings(settings, "train")["model.revision"] == commit
    assert resolved.unpinned_names(settings) == []
    chosen = fake_stages.settings(**names, model__revision="main", features__tokenizer_revision="main")
    assert runtime_sections(chosen)["model"]["revision"] == "main"
    assert key_settings(chosen, "tokenize")["features.tokenizer_revision"] == "main"


def test_another_name_of_the_hub_without_a_commit_is_told(fake_stages: FakeStages, tmp_path: Path) -> None:
    settings = fake_stages.settings(features__tokenizer="someone/words", model__base="someone/encoder")
    assert resolved.unpinned_names(settings) == ["features.tokenizer", "model.base"]
    assert runtime_sections(settings)["model"]["revision"] is None
    assert resolved.unpinned_names(fake_stages.settings(model__base=str(tmp_path))) == []
    pinned = fake_stages.settings(model__base="someone/encoder", model__revision="0123abc")
    assert resolved.unpinned_names(pinned) == []


def test_weight_decay_is_a_constant_of_an_ipu_s_program(fake_stages: FakeStages) -> None:
    def changed_stages(**settings: Any) -> set[str]:
        old, new = (keys_of(fake_stages.settings(**settings, training__weight_decay=decay)) for decay in (0.01, 0.02))
        return {stage for stage in STAGE_NAMES if old[stage] != new[stage]}

    assert changed_stages() == {"train"}
    assert changed_stages(runtime__name="ipu") == {"compile", "train"}


def test_neither_rate_nor_seed_nor_loss_scaling_shapes_an_ipu_s_executable(fake_stages: FakeStages) -> None:
    plain = keys_of(fake_stages.settings(runtime__name="ipu"))
    for name, value in (("training__learning_rate", 2e-3), ("training__seed", 7), ("ipu__loss_scaling", 128.0)):
        other = keys_of(fake_stages.settings(runtime__name="ipu", **{name: value}))
        assert {stage for stage in STAGE_NAMES if plain[stage] != other[stage]} == {"train"}


@pytest.mark.parametrize(("emulated", "device"), [(True, "cpu"), (False, "ipu")])
def test_an_emulated_ipu_is_a_cpu(emulated: bool, device: str, fake_stages: FakeStages) -> None:
    sections = runtime_sections(fake_stages.settings(runtime__name="ipu", runtime__emulated=emulated))
    assert sections["runtime"]["device"] == device
    assert sections["ipu"]["layers_per_ipu"] == [0, 4, 4, 4]
