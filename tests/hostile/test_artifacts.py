"""What lies in the store: a manifest, Arrow files and their layout are what they were, or set aside with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from podsquad.data.arrow import FEATURES_SCHEMA, LAYOUT_FILE, Features, read_layout
from podsquad.data.dataset import read_questions, write_split
from podsquad.data.questions import QuestionTable
from podsquad.data.squad import Answer, Record
from podsquad.errors import DataError
from podsquad.store.artifacts import MANIFEST_FILE, Artifact, Store
from podsquad.store.keys import differences, key_of
from tests.hostile.budget import hostile
from tests.hostile.inputs import damaged_bytes, damaged_json

LAYOUT = {
    "max_length": 384, "stride": 128, "vocab_size": 600, "pad_token_id": 1, "uses_token_types": False,
    "splits": {"train": {"num_features": 3, "num_tokens": 30, "longest_tokens": 12, "num_questions": 3}},
}  # fmt: skip
INGREDIENTS: Any = {
    "stage": "train",
    "format": 1,
    "settings": {"training.seed": 1},
    "inputs": {},
    "code": {},
    "libraries": {},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Artifact]:
    """A store with one artifact of a file, a file in a folder and one outside the digest."""
    folder = tmp_path_factory.mktemp("hostile")

    def build(output: Path, work: Path, handle: int) -> None:
        for name in ("a.txt", "sub/b.bin", "record/times.json"):
            (output / name).parent.mkdir(exist_ok=True)
            (output / name).write_bytes(name.encode())

    (folder / "outside.txt").write_bytes(b"outside")
    store = Store(folder / "store")
    return store, store.ensure(INGREDIENTS, build, log=lambda line: None)[0]


MANIFEST: Any = {  # as the store writes it for that artifact, but for what depends on its bytes
    "manifest_format": 1,
    "stage": "train",
    "key": key_of(INGREDIENTS),
    "ingredients": INGREDIENTS,
    "files": {
        name: {"num_bytes": len(name), "sha256": "0" * 64}
        for name in ("a.txt", "sub/b.bin", "record/times.json", "../../../outside.txt", "/dev/zero", "a\0b")
    },
    "digest": "0" * 64,
}


@hostile("manifest", kind=st.booleans(), data=st.data())
def test_a_manifest_is_the_one_that_was_written_or_the_artifact_is_not_used(
    built: tuple[Store, Artifact], kind: bool, data: Any
) -> None:
    store, artifact = built
    path = artifact.path / MANIFEST_FILE
    original = path.read_bytes()
    content = data.draw(damaged_json(json.loads(original)) if kind else damaged_json(MANIFEST))
    try:
        path.write_bytes(content)
        found = store.look_up("train", artifact.key)
        for ingredients in store.ingredients("train"):
            differing = list(differences(ingredients, INGREDIENTS))
            assert bool(differing) == (ingredients != INGREDIENTS)
    finally:
        path.write_bytes(original)
    if found.artifact is None:
        assert found.problem
    else:  # white space, an entry twice, or a file outside the digest that is listed no more
        assert (found.artifact.key, found.artifact.digest) == (artifact.key, artifact.digest)


def write_features(path: Path) -> None:
    rows = [[0, 5, 6, 2, 7, 8, 2], [0, 5, 2, 9, 2], [0, 9, 9, 2, 7, 2]]
    chars = [[[0, 4], [3, 8]], [[0], [3]], [[4], [8]]]
    columns = [
        pa.array([0, 1, 1], pa.int32()),
        pa.array([2**64 - 1, 7, 7], pa.uint64()),
        pa.array([4, 3, 4], pa.int16()),
        pa.array([2, 1, 1], pa.int16()),
        pa.array([4, 0, 0], pa.int16()),
        pa.array([5, 0, 0], pa.int16()),
        pa.array(rows, pa.list_(pa.int32())),
        pa.array([starts for starts, _ in chars], pa.list_(pa.int32())),
        pa.array([ends for _, ends in chars], pa.list_(pa.int32())),
    ]
    with pa.ipc.new_file(str(path), FEATURES_SCHEMA) as writer:
        writer.write_batch(pa.record_batch(columns, schema=FEATURES_SCHEMA))


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrows")
    record = Record("1", "T", "Ada was born in London.", "Where?", (Answer("London", 16),), "")
    other = Record("2", "", "漢字 😀", "?", (Answer("字", 1), Answer("漢字", 0)), "")
    write_split(folder / "dataset.arrow", [record, other, record])
    write_features(folder / "features.arrow")
    return folder


def use_dataset(folder: Path) -> None:
    questions = read_questions(folder, "train")
    for column in (questions.ids, questions.titles, questions.contexts, questions.questions):
        assert len(column) == len(questions.answers) == len(questions.answer_starts)
        assert all(isinstance(text, str) for text in column)
    table = QuestionTable(folder, "train")
    assert len(list(table.texts())) == table.num_contexts + len(table)
    assert (table.context >= 0).all()
    assert len(table.answer_ends) == len(table)


def use_features(folder: Path) -> None:
    features = Features(folder, "train")
    whole = (features.question_index, features.question_hash, features.context_start, features.context_length)
    for values in (*whole, features.start_position, features.end_position):
        assert isinstance(values, np.ndarray)
        assert len(values) == len(features)
    for ragged in (features.input_ids, features.char_starts, features.char_ends):
        assert len(ragged) == len(features)
        assert int(ragged.flat.sum()) == sum(int(ragged[row].sum()) for row in range(len(ragged)))


@hostile("Arrow file", use=st.sampled_from([("dataset", use_dataset), ("features", use_features)]), data=st.data())
def test_an_arrow_file_is_read_within_its_bounds_or_refused(arrows: Path, use: Any, data: Any) -> None:
    name, read = use
    content = data.draw(damaged_bytes((arrows / f"{name}.arrow").read_bytes()))
    target = arrows / "train.arrow"
    target.unlink(missing_ok=True)  # a file that is mapped into memory must not be written over
    target.write_bytes(content)
    try:
        read(arrows)
    except DataError as error:
        assert str(target) in error.what
        assert error.do


@hostile("layout", content=damaged_json(LAYOUT))
def test_a_layout_is_a_mapping_or_refused(tmp_path_factory: Any, content: bytes) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    (folder / LAYOUT_FILE).write_bytes(content)
    try:
        assert isinstance(read_layout(folder), dict)
    except DataError as error:
        assert LAYOUT_FILE in error.what
    os.unlink(folder / LAYOUT_FILE)
