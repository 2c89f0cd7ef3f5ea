"""The tokenize stage against run_qa.py's preprocessing, number for number, and what it writes and refuses."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import processors

from podsquad.config.data_settings import DataSettings, FeatureSettings
from podsquad.data import features as module
from podsquad.data import routes, workers
from podsquad.data.arrow import SPLITS, Features, read_layout
from podsquad.data.dataset import build_dataset, read_questions
from podsquad.data.features import build_features
from podsquad.data.squad import Answer, Record
from podsquad.data.tokenizer import load_tokenizer
from podsquad.errors import DataError, DiskFullError, SettingsError
from tests.data.run_qa_peer import prepare
from tests.data.texts import KINDS, bert, generic, make_records, roberta, write_dataset

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
SMALL = {"max_length": 96, "stride": 24}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "dataset"
    return write_dataset(folder, make_records(1, 60), make_records(2, 12, most_pieces=400))


def save(tokenizer: Any, folder: Path) -> str:
    tokenizer.save_pretrained(str(folder))
    return str(folder)


def build(dataset: Path, output: Path, **settings: Any) -> list[str]:
    output.mkdir()
    lines: list[str] = []
    build_features(FeatureSettings(**settings), dataset, output, log=lines.append)
    return lines


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def peer(tokenizer: Any, dataset: Path, split: str, **options: Any) -> dict[str, list[Any]]:
    questions = read_questions(dataset, split)
    answers = [
        {"text": list(texts), "answer_start": list(starts)}
        for texts, starts in zip(questions.answers, questions.answer_starts, strict=True)
    ]
    examples = {"question": questions.questions, "context": questions.contexts, "answers": answers}
    return prepare(tokenizer, examples, **options)


def assert_equal(
    mine: Features, theirs: dict[str, list[Any]], *, uses_token_types: bool = False, separated: bool = True
) -> None:
    """Hold every id, offset and label against the peer's."""
    assert len(mine) > 0
    assert mine.question_index.tolist() == theirs["sample"]
    starts = mine.context_start.tolist()
    for window, (first, length) in enumerate(zip(starts, mine.context_length.tolist(), strict=True)):
        assert mine.input_ids[window].tolist() == theirs["input_ids"][window]
        of_context = [place for place, which in enumerate(theirs["sequence_ids"][window]) if which == 1]
        assert of_context == list(range(first, first + length))
        offsets = list(zip(mine.char_starts[window].tolist(), mine.char_ends[window].tolist(), strict=True))
        assert offsets == theirs["offsets"][window][first : first + length]
        if uses_token_types:
            tokens = len(theirs["input_ids"][window])
            assert theirs["token_type_ids"][window] == [0] * first + [1] * (tokens - first)
    assert mine.start_position.tolist() == theirs["start_positions"]
    ends = mine.end_position.tolist()
    if not separated:  # run_qa.py walks on into the question where no token stands between
        ends = [
            end if mine_end == first else mine_end
            for mine_end, end, first in zip(ends, theirs["end_positions"], starts, strict=True)
        ]
    assert ends == theirs["end_positions"]


@pytest.mark.parametrize("closing", [False, True], ids=["start-in-context", "start-on-closing-token"])
@pytest.mark.parametrize("kind", KINDS)
def test_features_equal_run_qa(tmp_path: Path, dataset: Path, kind: str, closing: bool) -> None:
    make, route = KINDS[kind]
    tokenizer = make()
    folder = save(tokenizer, tmp_path / "tokenizer")
    lines = build(dataset, tmp_path / "out", tokenizer=folder, label_closing_token=closing, **SMALL)
    assert any(line.startswith(route) for line in lines), lines
    layout = read_layout(tmp_path / "out")
    assert layout["uses_token_types"] == kind.startswith(("bert", "electra"))
    for split in SPLITS:
        theirs = peer(load_tokenizer(folder), dataset, split, **SMALL, walk_past_context=closing)
        mine = Features(tmp_path / "out", split)
        assert_equal(mine, theirs, uses_token_types=layout["uses_token_types"], separated=kind != "gpt2")
        lengths = [len(ids) for ids in theirs["input_ids"]]
        assert layout["splits"][split] == {
            "num_features": len(lengths),
            "num_tokens": sum(lengths),
            "longest_tokens": max(lengths),
            "num_questions": len(read_questions(dataset, split)),
        }


def test_the_made_text_reaches_the_hard_cases(tmp_path: Path, dataset: Path) -> None:
    folder = save(roberta(), tmp_path / "tokenizer")
    build(dataset, tmp_path / "a", tokenizer=folder, **SMALL)
    build(dataset, tmp_path / "b", tokenizer=folder, label_closing_token=True, **SMALL)
    one, other = Features(tmp_path / "a", "train"), Features(tmp_path / "b", "train")
    assert (one.start_position != other.start_position).any()  # answers that start in a window's last token
    assert len(one) > len(np.unique(one.question_index)) + 20  # contexts of several windows
    characters = np.stack([one.char_starts.flat, one.char_ends.flat])
    assert (characters[:, 1:] == characters[:, :-1]).all(axis=0).any()  # characters split over tokens
    assert (one.start_position == 0).any()
    assert (one.start_position > 0).any()


@pytest.mark.parametrize("kind", ["roberta", "roberta-prefix-space", "bert"])
def test_the_number_of_workers_alters_no_byte(
    tmp_path: Path, dataset: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MOST_TEXTS", 7)
    folder = save(KINDS[kind][0](), tmp_path / "tokenizer")
    for number in (1, 3):
        build(dataset, tmp_path / f"{number}", tokenizer=folder, workers=number, **SMALL)
    assert digests(tmp_path / "1") == digests(tmp_path / "3")
    with pa.memory_map(str(tmp_path / "1/train.arrow")) as source:
        assert pa.ipc.open_file(source).num_record_batches > 7
    # And pieces alter nothing but the record batches.
    monkeypatch.undo()
    build(dataset, tmp_path / "whole", tokenizer=folder, **SMALL)
    whole, pieces = Features(tmp_path / "whole", "train"), Features(tmp_path / "3", "train")
    np.testing.assert_array_equal(whole.input_ids.flat, pieces.input_ids.flat)
    np.testing.assert_array_equal(whole.question_index, pieces.question_index)


def test_each_context_is_tokenized_once(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    encode = routes.ByteLevelEncoder.encode

    def spy(self: Any, texts: list[str], *, with_offsets: bool = True) -> Any:
        if with_offsets:
            seen.extend(texts)
        return encode(self, texts, with_offsets=with_offsets)

    monkeypatch.setattr(routes.ByteLevelEncoder, "encode", spy)
    monkeypatch.setattr(routes, "_agree", lambda *_: True)  # which tokenizes a sample besides
    monkeypatch.setattr(workers, "_MOST_TEXTS", 5)
    build(dataset, tmp_path / "out", tokenizer=save(roberta(), tmp_path / "tokenizer"), **SMALL)
    contexts = [set(read_questions(dataset, split).contexts) for split in SPLITS]
    assert sorted(seen) == sorted([*contexts[0], *contexts[1]])


@pytest.mark.parametrize("kind", ["roberta-prefix-space", "roberta-left-truncation"])
def test_the_sample_finds_what_construction_does_not_tell(
    tmp_path: Path, dataset: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "why_not_apart", lambda tokenizer: "")
    folder = save(KINDS[kind][0](), tmp_path / "tokenizer")
    lines = build(dataset, tmp_path / "out", tokenizer=folder, **SMALL)
    assert any("tokenizing apart gives something else" in line for line in lines)
    assert_equal(
        Features(tmp_path / "out", "train"),
        peer(load_tokenizer(folder), dataset, "train", **SMALL, walk_past_context=False),
    )


def test_a_tokenizer_can_be_trained_on_the_training_split(tmp_path: Path, dataset: Path) -> None:
    settings = {"tokenizer": "train", "vocab_size": 400, **SMALL}
    lines = build(dataset, tmp_path / "a", **settings)
    build(dataset, tmp_path / "b", **settings)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert lines[0] == "trained a byte-level BPE of 400 tokens on the training split"
    layout = read_layout(tmp_path / "a")
    assert (layout["vocab_size"], layout["pad_token_id"]) == (400, 1)
    tokenizer = load_tokenizer(str(tmp_path / "a/tokenizer"))
    theirs = peer(tokenizer, dataset, "validation", **SMALL, walk_past_context=False)
    assert_equal(Features(tmp_path / "a", "validation"), theirs)


def test_the_saved_tokenizer_tells_nothing_of_how_it_was_loaded_or_used(tmp_path: Path, dataset: Path) -> None:
    for name in ("here", "there"):
        build(dataset, tmp_path / f"from-{name}", tokenizer=save(roberta(), tmp_path / name), **SMALL)
    assert digests(tmp_path / "from-here") == digests(tmp_path / "from-there")
    saved = json.loads((tmp_path / "from-here/tokenizer/tokenizer.json").read_text(encoding="utf-8"))
    assert saved["truncation"] is None
    config = json.loads((tmp_path / "from-here/tokenizer/tokenizer_config.json").read_text(encoding="utf-8"))
    assert not {"is_local", "local_files_only"} & config.keys()


def test_progress_counts_contexts_and_questions_up_to_the_end(tmp_path: Path, dataset: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / "out").mkdir()
    settings = FeatureSettings(tokenizer="train", vocab_size=300, **SMALL)
    build_features(settings, dataset, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (60 + 120 + 12 + 24,) * 2


def record(question: str, context: str, *answers: Answer) -> Record:
    return Record("the-one", "T", context, question, answers or (Answer(context[:1], 0),), "row")


@pytest.mark.parametrize("kind", ["roberta", "roberta-prefix-space", "bert"])
def test_a_question_without_room_is_named(tmp_path: Path, kind: str) -> None:
    train = [*make_records(3, 4), record("the city " * 40, "tower " * 100)]
    folder = write_dataset(tmp_path / "dataset", train, make_records(4, 4))
    tokenizer = save(KINDS[kind][0](), tmp_path / "tokenizer")
    with pytest.raises(DataError, match="question the-one of the train split leaves no room") as caught:
        build(folder, tmp_path / "out", tokenizer=tokenizer, **SMALL)
    assert "features.max_length" in caught.value.do
    assert not (tmp_path / "out/train.arrow").exists()


@pytest.mark.parametrize("kind", ["roberta", "roberta-prefix-space", "bert"])
def test_a_long_question_is_fine_with_a_short_context(tmp_path: Path, kind: str) -> None:
    short = record("the city " * 36, "tower", Answer("tower", 0))
    folder = write_dataset(tmp_path / "dataset", [short], [short])
    tokenizer = save(KINDS[kind][0](), tmp_path / "tokenizer")
    build(folder, tmp_path / "out", tokenizer=tokenizer, **SMALL)
    assert_equal(
        Features(tmp_path / "out", "train"),
        peer(load_tokenizer(tokenizer), folder, "train", **SMALL, walk_past_context=False),
    )


def test_each_window_bears_the_hash_of_its_question_s_id(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", make_records(1, 12), make_records(2, 3))
    build(folder, tmp_path / "out", tokenizer=save(bert(), tmp_path / "tokenizer"), **SMALL)
    features, ids = Features(tmp_path / "out", "train"), read_questions(folder, "train").ids
    assert len(features) > len(ids) == len(set(ids))
    digests = [hashlib.sha256(ids[index].encode()).digest() for index in features.question_index.tolist()]
    assert features.question_hash.tobytes() == b"".join(digest[:8] for digest in digests)


def test_reading_features_loads_nothing_but_arrow_and_numpy(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", make_records(1, 3), make_records(2, 3))
    build(folder, tmp_path / "out", tokenizer=save(bert(), tmp_path / "tokenizer"), **SMALL)
    read = (
        f"from podsquad.data.arrow import Features; features = Features({str(tmp_path / 'out')!r}, 'train');"
        "features.input_ids.lengths, features.question_hash, features.start_position;"
        "import sys; print(sorted({'pandas', 'torch', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", read], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_context_without_tokens_gives_one_window_without_an_answer(tmp_path: Path) -> None:
    blank = record("Who?", "\x01\x02")
    folder = write_dataset(tmp_path / "dataset", [blank, record("Who?", "Ulm")], [blank])
    build(folder, tmp_path / "out", tokenizer=save(bert(), tmp_path / "tokenizer"), **SMALL)
    features = Features(tmp_path / "out", "train")
    assert features.question_index.tolist() == [0, 1]
    assert features.context_length[0] == 0
    assert features.start_position.tolist()[0] == features.end_position.tolist()[0] == 0
    assert features.start_position[1] > 0


def test_a_question_without_an_answer_is_labelled_zero(tmp_path: Path) -> None:
    none = Record("q", "T", "The tower of Ulm.", "Who?", (), "row")
    folder = write_dataset(tmp_path / "dataset", [none, record("Who?", "Ulm")], [none])
    build(folder, tmp_path / "out", tokenizer=save(roberta(), tmp_path / "tokenizer"), **SMALL)
    assert Features(tmp_path / "out", "train").end_position.tolist()[0] == 0


def test_an_empty_split_gives_an_empty_file(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", make_records(3, 3), [])
    build(folder, tmp_path / "out", tokenizer=save(roberta(), tmp_path / "tokenizer"), **SMALL)
    assert len(Features(tmp_path / "out", "validation")) == 0
    assert read_layout(tmp_path / "out")["splits"]["validation"] == {
        "num_features": 0,
        "num_tokens": 0,
        "longest_tokens": 0,
        "num_questions": 0,
    }


def class_token_last() -> Any:
    special = [("<s>", 0), ("</s>", 2)]
    template = processors.TemplateProcessing(single="$A <s>", pair="$A </s> $B <s>", special_tokens=special)
    return generic(post_processor=template)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: roberta(padding_side="left"), "pads on the left"),
        (lambda: generic(dropout=0.1), "merges at random"),
        (class_token_last, "class token is not the first"),
        (lambda: roberta(model_max_length=32), "reads at most 32 tokens"),
    ],
    ids=["left-padding", "dropout", "class-token-last", "short-model"],
)
def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path, dataset: Path, make: Any, message: str) -> None:
    folder = save(make(), tmp_path / "tokenizer")
    with pytest.raises(SettingsError, match=message):
        build(dataset, tmp_path / "out", tokenizer=folder, **SMALL)


def test_a_full_disk_is_named(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(path: Path) -> Iterator[None]:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
        yield

    monkeypatch.setattr(module, "durable_file", full)
    with pytest.raises(DiskFullError, match="writing the features"):
        build(dataset, tmp_path / "out", tokenizer=save(roberta(), tmp_path / "tokenizer"), **SMALL)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real questions are not there ({SHARED})")
def test_real_questions_with_the_real_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    settings = DataSettings(
        source="files",
        train_file=SHARED / "squad/train.json",
        validation_file=SHARED / "squad/dev.json",
    )
    build_dataset(settings, tmp_path / "dataset", log=lambda line: None)
    folder = str(SHARED / "roberta-base-tokenizer")
    tokenizer = load_tokenizer(folder)
    for closing in (False, True):
        output = tmp_path / f"closing-{closing}"
        build(tmp_path / "dataset", output, tokenizer=folder, workers=2, label_closing_token=closing)
        for split in SPLITS[closing:]:  # the switch is tried on the smaller split alone
            theirs = peer(tokenizer, tmp_path / "dataset", split, walk_past_context=closing)
            assert_equal(Features(output, split), theirs)
    layout = read_layout(tmp_path / "closing-True")
    assert layout["vocab_size"] == 50265
    counts = layout["splits"]["validation"]
    # All 1,190 English XQuAD questions give 1,217 features of 180.3 tokens; here are those of every second article.
    assert (counts["num_questions"], counts["num_features"]) == (612, 622)
    assert counts["num_tokens"] / counts["num_features"] == pytest.approx(180.3, abs=3)
