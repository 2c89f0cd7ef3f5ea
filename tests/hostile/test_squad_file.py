"""SQuAD files: refused with the place that is wrong, or records that are what they say; never a bad artifact."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from podsquad.config.load import load_settings
from podsquad.data.checks import check_split
from podsquad.data.dataset import read_questions
from podsquad.data.squad import parse_squad
from podsquad.errors import PodsquadError
from podsquad.stages.run import run_stage
from podsquad.store.artifacts import Store
from tests.hostile.budget import hostile
from tests.hostile.inputs import damaged_bytes, damaged_json
from tests.stages.fakes import Told

VALID: Any = {
    "version": "1.1",
    "data": [
        {
            "title": "Ada Lovelace",
            "paragraphs": [
                {
                    "context": "Ada was born in London — in 1815 😀.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "London", "answer_start": 16}]},
                        {"id": "2", "question": "When?", "answers": [{"text": "1815", "answer_start": 28}]},
                    ],
                },
                {
                    "context": "漢字",
                    "qas": [{"id": "3", "question": "?", "answers": [{"text": "字", "answer_start": 1}]}],
                },
            ],
        }
    ],
}


@st.composite
def squad_files(draw: Any) -> bytes:
    content = draw(damaged_json(VALID))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return gzip.compress(content, mtime=0)
    return draw(damaged_bytes(gzip.compress(content, mtime=0))) if kind == 1 else content


@hostile("SQuAD file", content=squad_files())
def test_a_squad_file_is_read_or_refused(content: bytes) -> None:
    try:
        records = parse_squad(content)
    except PodsquadError as error:
        assert error.what
        assert error.do
        return
    checked = check_split("train", records, {})
    assert len(checked.kept) + len(checked.bad) == len(records)
    for record in checked.kept:
        for text in (record.id, record.title, record.context, record.question):
            text.encode("utf-8")
        for answer in record.answers:
            assert record.context[answer.start : answer.start + len(answer.text)] == answer.text


@hostile("SQuAD file through the download stage", content=squad_files())
def test_a_bad_file_leaves_no_artifact(tmp_path_factory: Any, content: bytes) -> None:
    folder: Path = tmp_path_factory.mktemp("store")
    (folder / "train.json").write_bytes(content)
    (folder / "validation.json").write_bytes(content)
    overrides = {
        "store.path": folder / "store",
        "data.source": "files",
        "data.train_file": folder / "train.json",
        "data.validation_file": folder / "validation.json",
        "data.max_bad_share": 0.9,
    }
    try:
        outcome = run_stage("download", load_settings("cpu", overrides).settings, {}, reporter=Told())
    except PodsquadError:
        home = folder / "store" / "download"
        assert not home.is_dir() or [path for path in home.iterdir() if not path.name.startswith(".")] == []
        return
    artifact = outcome.artifact
    assert Store(folder / "store").look_up("download", artifact.key).artifact == artifact
    assert len(read_questions(artifact.path, "validation").ids) >= 1
