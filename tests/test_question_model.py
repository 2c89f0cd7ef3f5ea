"""Questions put to tiny models with random weights: what they answer must be what plain loops find."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import RobertaConfig, RobertaForMaskedLM, RobertaForQuestionAnswering, RobertaModel

from podsquad import question_model as module
from podsquad.errors import DataError, InputMissingError, SettingsError
from podsquad.question import answer_question
from tests.question_models import (
    LONG,
    QUESTION,
    SENTENCES,
    SHORT,
    WINDOW,
    bert,
    copy,
    roberta,
    roberta_config,
)

__all__ = ["bert", "copy", "roberta"]


def plain_answer(folder: Path, question: str, context: str) -> dict[str, Any]:
    """Window by window, without padding, every pair of the 20 best starts and ends: the best by its score."""
    tokenizer, model = module._load(folder)
    encoded = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=WINDOW,
        stride=WINDOW // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    candidates = []
    for row, offsets in enumerate(encoded["offset_mapping"]):
        names = ("input_ids", "token_type_ids") if "token_type_ids" in encoded else ("input_ids",)
        with torch.no_grad():
            output = model(**{name: torch.tensor([encoded[name][row]]) for name in names})
        starts, ends = output.start_logits[0], output.end_logits[0]
        in_context = [part == 1 for part in encoded.sequence_ids(row)]
        for start in starts.argsort(descending=True)[:20].tolist():
            for end in ends.argsort(descending=True)[:20].tolist():
                if in_context[start] and in_context[end] and start <= end < start + 30:
                    score = float(starts[start] + ends[end])
                    candidates.append((score, offsets[start][0], offsets[end][1]))
    candidates.sort(reverse=True)
    scores = torch.tensor([score for score, _, _ in candidates[:20]], dtype=torch.float64)
    score = candidates[0][0]
    return {
        # The long text repeats itself, so the best may be as good in several places but for rounding.
        "places": {(start, end) for other, start, end in candidates if other >= score - 1e-4 * abs(score)},
        "probability": float(scores.softmax(0)[0]),
        "score": score,
        "windows": len(encoded["input_ids"]),
    }


@pytest.mark.parametrize("context", [SENTENCES[0], SHORT, LONG], ids=["one window", "some windows", "many windows"])
@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_the_answer_is_the_one_that_plain_loops_find(request: pytest.FixtureRequest, kind: str, context: str) -> None:
    folder = request.getfixturevalue(kind)
    expected = plain_answer(folder, QUESTION, context)
    num_windows = expected.pop("windows")
    assert (num_windows == 1) == (context == SENTENCES[0])
    assert (num_windows > 2 * module._WINDOWS_AT_ONCE) == (context == LONG)
    found = answer_question(folder, QUESTION, context).to_json()
    assert found.pop("text") == context[found["char_start"] : found["char_end"]]
    assert (found.pop("char_start"), found.pop("char_end")) in expected.pop("places")
    # Padded batches differ from single windows by rounding.
    for name in ("probability", "score"):
        assert found.pop(name) == pytest.approx(expected.pop(name), rel=1e-4)
    assert found == expected == {}


@pytest.mark.parametrize("kind", ["roberta", "bert"])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_the_batch_does_not_alter_the_answer(
    request: pytest.FixtureRequest, kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(kind)
    usual = answer_question(folder, QUESTION, LONG)
    monkeypatch.setattr(module, "_WINDOWS_AT_ONCE", at_once)
    other = answer_question(folder, QUESTION, LONG)
    places = plain_answer(request.getfixturevalue(kind), QUESTION, LONG)["places"]
    assert {(other.char_start, other.char_end), (usual.char_start, usual.char_end)} <= places
    assert other.score == pytest.approx(usual.score, rel=1e-4)


def test_a_left_padding_tokenizer_gives_the_same_answer(roberta: Path, copy: Path) -> None:
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    assert answer_question(copy, QUESTION, LONG) == answer_question(roberta, QUESTION, LONG)


def test_blanks_before_the_question_do_not_count(roberta: Path) -> None:
    assert answer_question(roberta, "  \n" + QUESTION, SHORT) == answer_question(roberta, QUESTION, SHORT)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no model folder"):
        answer_question(tmp_path / "nothing", QUESTION, SHORT)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", lambda content: content[:-1]),
        ("model.safetensors", lambda content: content[:100]),
        ("model.safetensors", lambda content: b""),
        ("model.safetensors", lambda content: content[:5] + b"\xff" + content[6:]),
        ("model.safetensors", None),
        ("config.json", lambda content: content[:50]),
        ("config.json", lambda content: content.replace(b'"hidden_size": 16', b'"hidden_size": 32')),
        ("config.json", None),
        ("tokenizer.json", lambda content: content[:1000]),
        ("tokenizer.json", lambda content: b"{}"),
        ("tokenizer.json", None),
    ],
    ids=["a byte short", "cut", "empty", "header", "no weights", "config cut", "sizes", "no config", "tokenizer cut",
         "tokenizer empty", "no tokenizer"],
)  # fmt: skip
def test_a_damaged_model_is_a_data_error(copy: Path, name: str, damage: Any) -> None:
    if damage is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(damage((copy / name).read_bytes()))
    with pytest.raises(DataError) as caught:
        answer_question(copy, QUESTION, SHORT)
    assert str(copy) in caught.value.what
    assert caught.value.do


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_not_run_and_nobody_is_asked(
    copy: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr("sys.stdin", answers)
    own = {"AutoConfig": "own.Own", "AutoModelForQuestionAnswering": "own.Own", "AutoTokenizer": [None, "own.Own"]}
    config = json.loads((copy / name).read_text()) | {"auto_map": own, "model_type": "own", "tokenizer_class": "Own"}
    (copy / name).write_text(json.dumps(config))
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\n")
    if name == "config.json":
        with pytest.raises(DataError, match="contains custom code"):
            answer_question(copy, QUESTION, SHORT)
    else:  # its tokenizer.json is read all the same
        assert answer_question(copy, QUESTION, SHORT).text
    assert answers.tell() == 0
    assert not (copy / "ran").exists()


def test_weights_that_would_be_unpickled_are_refused(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"no file named model\.safetensors"):
        answer_question(copy, QUESTION, SHORT)


@pytest.mark.parametrize("kind", [RobertaForMaskedLM, RobertaModel], ids=lambda kind: kind.__name__)
def test_a_model_of_another_task_is_refused(copy: Path, kind: Any) -> None:
    kind(RobertaConfig.from_pretrained(copy)).save_pretrained(copy)
    with pytest.raises(DataError, match=r"lacks the weights qa_outputs\.bias, qa_outputs\.weight"):
        answer_question(copy, QUESTION, SHORT)


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    RobertaForQuestionAnswering(roberta_config(100)).save_pretrained(copy)
    with pytest.raises(DataError, match="the model knows 100"):
        answer_question(copy, QUESTION, SHORT)


def test_a_tokenizer_that_is_not_fast_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.json").write_text("{}")
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    with pytest.raises(SettingsError, match="not a fast one"):
        answer_question(copy, QUESTION, SHORT)


@pytest.mark.parametrize(("question", "context"), [("a\udcff", SHORT), (QUESTION, "a\udcff")])
def test_texts_that_are_no_unicode_are_refused(roberta: Path, question: str, context: str) -> None:
    with pytest.raises(DataError, match="not Unicode text: surrogates not allowed at character 1"):
        answer_question(roberta, question, context)


def test_a_question_must_leave_room_for_the_context(roberta: Path) -> None:
    fitting = "a b " * 9
    assert answer_question(roberta, fitting, LONG).text
    with pytest.raises(SettingsError, match="too long: 400 characters") as caught:
        answer_question(roberta, "a b " * 100, LONG)
    assert "windows of 64 tokens" in caught.value.why
