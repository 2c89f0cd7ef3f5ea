"""The shipped encoder: what a clone carries loads in plain transformers and fits its tokenizer."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from podsquad.data.demo import ENCODER_FOLDER
from podsquad.data.demo.names import names_of
from podsquad.data.demo.world import make_demo_world
from podsquad.data.squad import iterate_squad

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SPECIAL_IDS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(ENCODER_FOLDER)


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, dict[str, Any]]:
    model, info = transformers.RobertaForQuestionAnswering.from_pretrained(
        ENCODER_FOLDER, dtype=torch.float32, output_loading_info=True
    )
    return model, info


def test_the_folder_stays_under_four_megabytes() -> None:
    assert sum(path.stat().st_size for path in ENCODER_FOLDER.iterdir()) < 4_000_000


def test_the_script_and_its_seed_are_named_beside_the_weights() -> None:
    text = (ENCODER_FOLDER / "README.md").read_text(encoding="utf-8")
    assert "scripts/pretrain_demo_encoder.py" in text
    assert "1861" in text
    assert (ENCODER_FOLDER.parents[2] / "scripts" / "pretrain_demo_encoder.py").is_file()


def test_the_weights_are_those_that_the_readme_describes() -> None:
    digest = hashlib.sha256((ENCODER_FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (ENCODER_FOLDER / "README.md").read_text(encoding="utf-8")


def test_only_the_question_answering_head_is_new(loaded: tuple[Any, dict[str, Any]]) -> None:
    _, info = loaded
    assert set(info["missing_keys"]) == {"qa_outputs.weight", "qa_outputs.bias"}
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]


def test_the_weights_are_finite_and_load_as_float32(loaded: tuple[Any, dict[str, Any]]) -> None:
    model, _ = loaded
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool(parameter.isfinite().all()) for parameter in model.roberta.parameters())


def test_tokenizer_and_encoder_agree(tokenizer: Any, loaded: tuple[Any, dict[str, Any]]) -> None:
    config = loaded[0].config
    assert len(tokenizer) == config.vocab_size
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_IDS)) == list(SPECIAL_IDS.values())
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "Who founded Östribrück?",
        " two  spaces, a\ttab",
        "naïve – “quoted”",
        "日本語 한국어 العربية",
        "🙂👩‍👩‍👧",
        "e\u0301",
    ],
    ids=["question", "white space", "punctuation", "scripts", "emoji", "combining"],
)
def test_the_tokenizer_gives_back_every_text(tokenizer: Any, text: str) -> None:
    assert tokenizer.is_fast
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_pair_is_put_together_as_roberta_does(tokenizer: Any) -> None:
    ids = tokenizer("Who?", "He.")["input_ids"]
    assert tokenizer.decode(ids) == "<s>Who?</s></s>He.</s>"


@pytest.mark.parametrize("name_set", ["train", "validation"])
def test_no_name_of_the_questions_is_a_word_of_the_vocabulary(tokenizer: Any, name_set: str) -> None:
    names = names_of(name_set)
    for name in (*names.towns, *names.firms, *names.family_names):
        assert len(tokenizer(" " + name, add_special_tokens=False)["input_ids"]) >= 2


def test_a_question_and_its_passage_fit_the_encoder(tokenizer: Any, loaded: tuple[Any, dict[str, Any]]) -> None:
    most = loaded[0].config.max_position_embeddings - 2
    records = iterate_squad(make_demo_world(1, 10, 300).validation)
    assert max(len(tokenizer(record.question, record.context)["input_ids"]) for record in records) <= most
