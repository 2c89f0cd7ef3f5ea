"""Finding tokenizers, refusing what cannot serve, and training one."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, CanineTokenizer

from podsquad.data import tokenizer as module
from podsquad.data.tokenizer import SPECIAL_TOKENS, load_tokenizer, train_tokenizer
from podsquad.errors import DataError, DiskFullError, InputMissingError, PodsquadError, SettingsError, TemporaryError
from tests.data.texts import KINDS, byte_level_parts, roberta, training_texts

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data/roberta-base-tokenizer"
SENTENCE = "The tower of Ulm 東京 👍🏽 <mask> is high."


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "bert", "electra", "xlm-roberta", "roberta-normalized"])
def test_a_saved_fast_tokenizer_comes_back(tmp_path: Path, kind: str) -> None:
    tokenizer = KINDS[kind][0]()
    tokenizer.save_pretrained(str(tmp_path))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.is_fast
    assert loaded(SENTENCE)["input_ids"] == tokenizer(SENTENCE)["input_ids"]


def write_vocab_and_merges(folder: Path, vocab: dict[str, int]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in byte_level_parts()[1])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_robertas_two_files_are_enough(tmp_path: Path) -> None:
    write_vocab_and_merges(tmp_path, byte_level_parts()[0])
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.is_fast
    assert loaded(SENTENCE)["input_ids"] == roberta()(SENTENCE)["input_ids"]


def test_two_files_of_another_model_are_not_taken_for_robertas(tmp_path: Path) -> None:
    vocab = {token: index for token, index in byte_level_parts()[0].items() if token != "<mask>"}
    write_vocab_and_merges(tmp_path, vocab)
    with pytest.raises(SettingsError, match=r"not RoBERTa's: its vocab.json lacks <mask>"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_that_is_not_fast_is_refused(tmp_path: Path) -> None:
    CanineTokenizer().save_pretrained(str(tmp_path))
    with pytest.raises(SettingsError, match=r"\(CanineTokenizer\) is not a fast one") as caught:
        load_tokenizer(str(tmp_path))
    assert "character offsets" in caught.value.why
    assert caught.value.do
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(InputMissingError, match=f"there is no tokenizer folder {name}"):
        load_tokenizer(name)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputMissingError, match="there is no tokenizer folder"):
        load_tokenizer(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "files",
    [{}, {"tokenizer.json": "{"}, {"vocab.json": "{", "merges.txt": ""}, {"config.json": "{}"}],
    ids=["empty", "damaged", "damaged-vocab", "of-no-model"],
)
def test_a_folder_that_holds_no_tokenizer_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot load a fast tokenizer from the folder") as caught:
        load_tokenizer(str(tmp_path))
    assert (min(files) if files else "nothing") in caught.value.why


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (ConnectionError("no route to host"), TemporaryError),
        (OSError("no/such is not a local folder and is not a valid model identifier"), InputMissingError),
        (ValueError("Unrecognized model"), SettingsError),
    ],
    ids=["full-disk", "no-network", "no-such-repository", "not-a-tokenizer"],
)
def test_what_the_hub_says_is_translated(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, expected: type[PodsquadError]
) -> None:
    asked: list[Any] = []

    def refuse(name: str, **options: Any) -> None:
        asked.append((name, options["revision"]))
        if expected is InputMissingError:
            raise cause  # transformers raises this one itself
        raise RuntimeError("could not load") from cause

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", refuse)
    monkeypatch.setattr(module, "_hub_is_offline", lambda: False)
    monkeypatch.setattr(module, "_folder_of", lambda name, revision: name)
    with pytest.raises(expected) as caught:
        load_tokenizer("no/such", "abc123")
    assert type(caught.value) is expected
    assert asked == [("no/such", "abc123")]


def test_a_tokenizer_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}', encoding="utf-8")
    with pytest.raises(SettingsError, match="knows no token but its 5 special ones") as caught:
        load_tokenizer(str(tmp_path))
    assert "no vocabulary" in caught.value.why


def test_training_gives_robertas_special_ids_and_every_byte() -> None:
    tokenizer = train_tokenizer(iter(training_texts()), 600)
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert len(tokenizer) == 600
    unseen = "ǅ 𐍈 ꙮ \x07"
    ids = tokenizer(unseen, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == unseen


def test_few_texts_make_a_smaller_vocabulary() -> None:
    assert 261 <= len(train_tokenizer(iter(["abab abab"]), 5000)) < 280


def test_equal_texts_give_equal_files_in_another_process_and_autotokenizer_loads_them(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.data.texts import training_texts; from podsquad.data.tokenizer import train_tokenizer;"
        "train_tokenizer(iter(training_texts()), 500).save_pretrained(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "b")], check=True, cwd=ROOT)
    tokenizer = train_tokenizer(iter(training_texts()), 500)
    tokenizer.save_pretrained(str(tmp_path / "a"))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    loaded = AutoTokenizer.from_pretrained(str(tmp_path / "b"))
    assert loaded("Ulm?", SENTENCE)["input_ids"] == tokenizer("Ulm?", SENTENCE)["input_ids"]


def test_no_text_cannot_train() -> None:
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        train_tokenizer(iter([]), 300)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"RoBERTa's files are not there ({SHARED})")
def test_robertas_own_files() -> None:
    tokenizer = load_tokenizer(str(SHARED))
    assert len(tokenizer) == 50265
    # Known ids of roberta-base: <s> Hello, world! </s>
    assert tokenizer("Hello world!")["input_ids"] == [0, 31414, 232, 328, 2]
