"""The download stage: what it writes, byte for byte, and what it reads back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from podsquad.config.data_settings import DataSettings
from podsquad.data import dataset as module
from podsquad.data.arrow import DATASET_SCHEMA, read_table
from podsquad.data.dataset import build_dataset, read_origin, read_questions, read_report, write_split
from podsquad.data.squad import Answer, Record, parse_squad
from podsquad.errors import DataError, StoreError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data/squad"
DEMO = DataSettings(demo_train_questions=60, demo_validation_questions=20)
NAMES = ["origin.json", "quarantine.jsonl", "train.arrow", "validation.arrow", "validation_report.json"]


def build(folder: Path, settings: DataSettings = DEMO) -> list[str]:
    folder.mkdir()
    lines: list[str] = []
    build_dataset(settings, folder, log=lines.append)
    return lines


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def record(number: int, context: str = "Ada wrote it.", question: str = "Who?") -> Record:
    return Record(f"q{number}", "Ada", context, question, (Answer("Ada", 0),), f"row {number}")


def squad_file(path: Path, records: list[Record]) -> Path:
    articles = [
        {
            "title": one.title,
            "paragraphs": [{"context": one.context, "qas": [one.as_json()]}],
        }
        for one in records
    ]
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return path


def test_a_dataset_holds_its_five_files(tmp_path: Path) -> None:
    lines = build(tmp_path / "a")
    assert sorted(digests(tmp_path / "a")) == NAMES
    assert lines == ["train: 60 questions", "validation: 20 questions"]
    assert read_origin(tmp_path / "a")["source"] == "demo"
    assert read_report(tmp_path / "a")["splits"]["train"]["kept"] == 60


def test_equal_settings_give_equal_bytes_in_another_process(tmp_path: Path) -> None:
    build(tmp_path / "a")
    (tmp_path / "b").mkdir()
    program = (
        "import sys; from pathlib import Path; from podsquad.config.settings import DataSettings;"
        "from podsquad.data.dataset import build_dataset;"
        "build_dataset(DataSettings(demo_train_questions=60, demo_validation_questions=20), "
        "Path(sys.argv[1]), log=lambda line: None)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "b")], check=True, env=environment, cwd=tmp_path)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_questions_come_back_as_they_went_in(tmp_path: Path) -> None:
    records = [record(1, "Ada \U0001f600 ü", "Wer?"), record(2), record(3)]
    write_split(tmp_path / "train.arrow", records)
    questions = read_questions(tmp_path, "train")
    assert len(questions) == 3
    assert questions.ids == ["q1", "q2", "q3"]
    assert questions.contexts == [one.context for one in records]
    assert questions.contexts[1] is questions.contexts[2]
    assert questions.answers == [("Ada",)] * 3
    assert questions.answer_starts == [(0,)] * 3


def test_many_record_batches_share_one_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_PER_BATCH", 4)
    records = [record(n, f"Ada {n // 3}") for n in range(11)]
    write_split(tmp_path / "train.arrow", records)
    with pa.memory_map(str(tmp_path / "train.arrow")) as source:
        assert pa.ipc.open_file(source).num_record_batches == 3
    assert read_questions(tmp_path, "train").contexts == [one.context for one in records]


def test_an_empty_split_can_be_written_and_read(tmp_path: Path) -> None:
    write_split(tmp_path / "train.arrow", [])
    assert len(read_questions(tmp_path, "train")) == 0


def test_bad_records_go_to_quarantine(tmp_path: Path) -> None:
    train = [record(n) for n in range(9)] + [record(9, question="\ud800")]
    validation = [record(100), record(3)]
    settings = DataSettings(
        source="files",
        train_file=squad_file(tmp_path / "t.json", train),
        validation_file=squad_file(tmp_path / "v.json", validation),
        max_bad_share=0.2,
    )
    lines = build(tmp_path / "out", settings)
    assert lines[0] == "train: 8 questions, 2 set aside (quarantine.jsonl says why)"
    assert lines[2] == "note: 1 paragraphs stand in both splits"
    entries = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert [(entry["split"], entry["id"], entry["reason"]) for entry in entries] == [
        ("train", "q3", "duplicate_id"),
        ("train", "q9", "invalid_unicode"),
    ]
    assert entries[1]["where"] == "data[9].paragraphs[0].qas[0]"
    assert entries[1]["record"]["question"] == "\ud800"
    # The yardstick stays whole: what stands in both splits is taken out of training.
    assert read_questions(tmp_path / "out", "validation").ids == ["q100", "q3"]


def test_too_many_bad_records_stop_the_stage_before_anything_is_written(tmp_path: Path) -> None:
    settings = DataSettings(
        source="files",
        train_file=squad_file(tmp_path / "t.json", [record(1, question=""), record(2)]),
        validation_file=squad_file(tmp_path / "v.json", [record(3)]),
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="1 of 2 records of the train split are bad"):
        build_dataset(settings, tmp_path / "out", log=lambda line: None)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="writing the dataset"):
        build_dataset(DEMO, tmp_path / "nowhere", log=lambda line: None)


def test_a_damaged_dataset_is_a_data_error(tmp_path: Path) -> None:
    build(tmp_path / "a")
    content = (tmp_path / "a/train.arrow").read_bytes()
    (tmp_path / "a/train.arrow").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="as an Arrow file"):
        read_questions(tmp_path / "a", "train")
    (tmp_path / "a/origin.json").write_text("{")
    with pytest.raises(DataError, match=r"origin\.json"):
        read_origin(tmp_path / "a")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real SQuAD questions are not at {SHARED}")
def test_real_squad_passes_every_check_and_comes_back(tmp_path: Path) -> None:
    settings = DataSettings(
        source="files",
        train_file=SHARED / "train.json",
        validation_file=SHARED / "dev.json",
        expected_train_questions=2575,
        expected_validation_questions=612,
        max_bad_share=0.0,
    )
    build(tmp_path / "out", settings)
    assert (tmp_path / "out/quarantine.jsonl").read_bytes() == b""
    report = read_report(tmp_path / "out")
    assert report["splits"]["train"]["contexts"] == 568
    assert report["contexts_in_several_splits"] == 0
    questions = read_questions(tmp_path / "out", "validation")
    expected = parse_squad((SHARED / "dev.json").read_bytes())
    assert questions.ids == [one.id for one in expected]
    assert questions.answers == [tuple(a.text for a in one.answers) for one in expected]
    assert read_table(tmp_path / "out/train.arrow", DATASET_SCHEMA).num_rows == 2575
