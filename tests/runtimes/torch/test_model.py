"""Base models: what fits is loaded, in float32; what does not is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PegasusConfig, PretrainedConfig, RobertaConfig, RobertaForCausalLM, RobertaModel, ViTConfig

from podsquad.errors import DiskFullError, InputMissingError, PodsquadError, SettingsError, TemporaryError
from podsquad.runtimes.base_errors import explain_load_error
from podsquad.runtimes.torch.device import set_up
from podsquad.runtimes.torch.model import build_model, load_config, trained_section
from podsquad.runtimes.torch.plan import count_parameters, decide_compiled, make_plan
from tests.runtimes.torch.made_up import MAX_LENGTH, PAD, VOCAB_SIZE, make_settings

LAYOUT: dict[str, Any] = {
    "max_length": MAX_LENGTH,
    "vocab_size": VOCAB_SIZE,
    "pad_token_id": PAD,
    "uses_token_types": False,
    "splits": {"train": {"num_features": 10, "num_tokens": 200, "longest_tokens": 30}},
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    set_up({"device": "cpu", "threads": 1, "processes": 1})


def tiny_config(**changes: Any) -> RobertaConfig:
    sizes = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": MAX_LENGTH + 2,
        "type_vocab_size": 1,
        "pad_token_id": PAD,
    }
    return RobertaConfig(**{**sizes, **changes})


def save_encoder(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    torch.manual_seed(3)
    RobertaModel(tiny_config(**changes), add_pooling_layer=False).to(dtype).save_pretrained(folder)
    return folder


def build(folder: Path, seed: int = 0, **changes: Any) -> Any:
    section = make_settings(model__base=str(folder), **changes)["model"]
    return build_model(section, load_config(section, LAYOUT), seed=seed, formulation="packed")


def test_an_encoder_gets_a_head_from_the_seed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save_encoder(tmp_path / "encoder")
    first, again, other = build(folder, 1), build(folder, 1), build(folder, 2)
    assert torch.equal(first.qa_outputs.weight, again.qa_outputs.weight)
    assert not torch.equal(first.qa_outputs.weight, other.qa_outputs.weight)
    theirs = RobertaModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    ours = first.roberta.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert capfd.readouterr() == ("", "")


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    model = build(save_encoder(tmp_path / "encoder", torch.float16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "saved")
    assert '"float32"' in (tmp_path / "saved" / "config.json").read_text()
    assert "podsquad" not in (tmp_path / "saved" / "config.json").read_text()


@pytest.mark.parametrize("value", [None, 0.0, 0.3])
def test_dropout_is_the_setting_s_or_the_config_s(tmp_path: Path, value: float | None) -> None:
    model = build(save_encoder(tmp_path / "encoder", hidden_dropout_prob=0.2), model__dropout=value)
    assert model.config.hidden_dropout_prob == (0.2 if value is None else value)
    assert model.config.attention_probs_dropout_prob == (0.1 if value is None else value)
    assert model.roberta.embeddings.dropout.p == model.config.hidden_dropout_prob


def test_a_model_from_scratch_is_of_the_sizes_given() -> None:
    section = make_settings()["model"]
    config = load_config(section, LAYOUT)
    model = build_model(section, config, seed=1, formulation="padded")
    assert model.roberta.embeddings.position_embeddings.weight.shape == (MAX_LENGTH + PAD + 1, 16)
    assert model.roberta.embeddings.word_embeddings.weight.shape == (VOCAB_SIZE, 16)
    assert len(model.roberta.encoder.layer) == 2
    again = build_model(section, config, seed=1, formulation="padded")
    assert torch.equal(model.qa_outputs.weight, again.qa_outputs.weight)
    assert count_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": VOCAB_SIZE - 1}, "knows 39 tokens, but the features' tokenizer makes 40"),
        ({"max_position_embeddings": MAX_LENGTH + 1}, f"reads at most {MAX_LENGTH - 1} tokens"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(save_encoder(tmp_path / "encoder", **changes))


@pytest.mark.parametrize("kind", [PegasusConfig, ViTConfig])
def test_a_model_that_answers_no_questions_is_refused(tmp_path: Path, kind: type[PretrainedConfig]) -> None:
    kind().save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="which answers no questions about texts"):
        build(tmp_path)


@pytest.mark.parametrize("base", ["nothing/here/deep", "./nothing", "/nothing", "nothing/"])
def test_a_path_that_is_not_there_is_missing(base: str) -> None:
    with pytest.raises(InputMissingError, match="which is no folder"):
        load_config(make_settings(model__base=base)["model"], LAYOUT)


def test_folders_that_hold_no_encoder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"cannot load model\.base"):
        build(tmp_path / "empty")
    no_weights = save_encoder(tmp_path / "no-weights")
    (no_weights / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match=r"cannot load model\.base"):
        build(no_weights)
    torn = save_encoder(tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(SettingsError, match=r"cannot load model\.base"):
        build(torn)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(SettingsError, match=r"cannot load model\.base"):
        build(folder)


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    tiny_config(num_hidden_layers=3).save_pretrained(folder)
    with pytest.raises(SettingsError, match=r"holds no weights for roberta\.encoder\.layer\.2"):
        build(folder)


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    (folder / "evil.py").write_text("raise SystemExit('this code ran')")
    config = (folder / "config.json").read_text().replace('"roberta"', '"unheard-of"')
    config = config.replace("{", '{"auto_map": {"AutoConfig": "evil.Config"},', 1)
    (folder / "config.json").write_text(config)
    with pytest.raises(SettingsError, match=r"cannot load model\.base"):
        build(folder)


def test_a_trained_model_comes_back(tmp_path: Path) -> None:
    model = build(save_encoder(tmp_path / "encoder"))
    model.save_pretrained(tmp_path / "trained")
    section = trained_section(tmp_path / "trained")
    again = build_model(section, load_config(section, LAYOUT), seed=0, formulation="packed")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(InputMissingError):
        load_config(trained_section(tmp_path / "nothing"), LAYOUT)


@pytest.mark.parametrize(
    ("asked", "device", "attention", "value"),
    [
        ("auto", "cpu", "grouped", False),
        ("auto", "cuda", "flash", True),
        ("auto", "cuda", "grouped", False),
        ("auto", "cuda", "padded", False),
        ("always", "cpu", "grouped", True),
        ("always", "cuda", "flash", True),
        ("never", "cuda", "flash", False),
    ],
)
def test_compiling_is_decided_with_a_reason(asked: str, device: str, attention: str, value: bool) -> None:
    decision, reason = decide_compiled(asked, device, attention)
    assert decision is value
    assert len(reason) > 10


@pytest.mark.parametrize(
    ("device", "attention", "why"),
    [("cpu", "padded", "the model runs padded"), ("cuda", "grouped", "attention goes by groups")],
)
def test_micro_batches_of_many_sizes_are_not_compiled(device: str, attention: str, why: str) -> None:
    with pytest.raises(SettingsError, match=rf"runtime\.compiled is always, but {why}"):
        decide_compiled("always", device, attention)


def test_the_plan_does_not_depend_on_what_only_training_reads() -> None:
    plans = [
        make_plan(make_settings(training__epochs=epochs, training__seed=epochs), LAYOUT, tiny_config(), np.full(10, 20))
        for epochs in (1, 5)
    ]
    assert plans[0] == plans[1]
    assert plans[0]["memory"]["weights_bytes"] == 4 * count_parameters(tiny_config())


class Answer:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def caused(name: str, status: int | None = None, cause: BaseException | None = None) -> OSError:
    kind = type(name, (Exception,), {})
    inner = kind("said hf_SECRETtoken123")
    inner.__cause__ = cause
    if status is not None:
        inner.response = Answer(status)
    outer = OSError("transformers' own words hf_SECRETtoken123")
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (caused("RepositoryNotFoundError", 404), InputMissingError),
        (caused("RevisionNotFoundError", 404), InputMissingError),
        (caused("RepositoryNotFoundError", 401), SettingsError),
        (caused("GatedRepoError", 403), SettingsError),
        (caused("LocalEntryNotFoundError"), TemporaryError),
        (caused("HfHubHTTPError", 503), TemporaryError),
        (caused("HfHubHTTPError", 429), TemporaryError),
        (caused("OfflineModeIsEnabled"), InputMissingError),
        (caused("Strange", None, OSError(28, "No space left on device")), DiskFullError),
        (caused("Strange", None, ConnectionError("reset")), TemporaryError),
        (ValueError("no such architecture"), SettingsError),
    ],
)
def test_what_the_hub_says_is_told_apart(error: Exception, expected: type[PodsquadError]) -> None:
    explained = explain_load_error(error, "owner/name", "main")
    assert type(explained) is expected
    assert "SECRET" not in str(explained)
    assert explained.do


def test_weights_of_a_language_model_serve_as_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    RobertaForCausalLM(tiny_config(is_decoder=True)).save_pretrained(tmp_path / "lm")
    tiny_config().save_pretrained(tmp_path / "lm")
    assert build(tmp_path / "lm").roberta.encoder.layer[1].output.dense.weight.shape == (16, 32)
