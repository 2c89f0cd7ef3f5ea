"""Prefect's records in a store that somebody else may have written: what they ask for is not run."""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from podsquad.config.section import STAGE_NAMES
from tasks.records import StageRecords
from tests.flows.night import Night

JSON: dict[str, Any] = JSONSerializer().model_dump()
PICKLE = {"type": "pickle", "picklelib": "cloudpickle"}


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def pickled(mark: Path) -> str:
    return base64.encodebytes(cloudpickle.dumps(Touch(mark))).decode()


def packed(mark: Path) -> str:
    return base64.encodebytes(lzma.compress(pickled(mark).encode())).decode()


def record(result: str, **serializer: Any) -> str:
    metadata = {"storage_key": "key", **({"serializer": serializer} if serializer else {})}
    return json.dumps({"metadata": metadata, "result": result})


def call(mark: Path) -> Any:
    """What Prefect calls a function for, taking its name for a class."""
    return {"__class__": "subprocess.getoutput", "data": {"cmd": f"touch '{mark}'"}}


HOSTILE: dict[str, Callable[[Path], str]] = {
    "pickle": lambda mark: record(pickled(mark), **PICKLE),
    "no serializer": lambda mark: record(pickled(mark)),
    "compressed pickle": lambda mark: record(packed(mark), type="compressed/pickle"),
    "compressed": lambda mark: record(packed(mark), type="compressed", serializer=PICKLE),
    "old form": lambda mark: json.dumps({"serializer": PICKLE, "data": pickled(mark)}),
    "JSON of another module": lambda mark: record(
        f"touch '{mark}'", **JSON | {"jsonlib": "tests.hostile.test_records"}
    ),
    "a function as class": lambda mark: record(json.dumps(call(mark)), **JSON),
    "within a reference": lambda mark: record(
        json.dumps({"__class__": "tasks.reference.ArtifactReference", "data": {"stage": call(mark)}}), **JSON
    ),
    "beside a reference": lambda mark: record(
        json.dumps({"__class__": "tasks.reference.ArtifactReference", "data": {}, "more": call(mark)}), **JSON
    ),
}


def loads(text: str, **_: Any) -> Any:
    """Be a module that a record names to be read with."""
    Path(text.split("'")[1]).touch()
    return {}


def read(store: ResultStore) -> None:
    """Ask as Prefect does before a task: whether a record is there, and then for its result."""
    if store.exists("key"):
        store.read("key")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_record_that_asks_for_more_than_a_reference_is_none(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "key").write_text(HOSTILE[name](mark))
    store = ResultStore(result_storage=StageRecords(basepath=str(tmp_path)), serializer=JSONSerializer())
    read(store)
    assert not store.exists("key")
    assert not mark.exists()
    # Prefect's own storage, in its place, does as the record says: the record is a hostile one.
    read(ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path)), serializer=JSONSerializer()))
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"{", b"[]", b"null", b"7", b'{"metadata": {}}', b'{"result": "[]"}', b"[" * 3000],
    ids=lambda content: str(content[:20]),
)
def test_a_record_that_cannot_be_read_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    store = ResultStore(result_storage=StageRecords(basepath=str(tmp_path)), serializer=JSONSerializer())
    assert not store.exists("key")


def test_a_night_does_not_run_what_the_records_of_its_store_ask_for(night: Night, tmp_path: Path) -> None:
    night.run()
    mark = tmp_path / "mark"
    records = sorted((night.root / "store/.prefect").iterdir())
    honest = {path: json.loads(path.read_bytes()) for path in records}
    for path, hostile in zip(records, HOSTILE.values(), strict=False):
        path.write_text(hostile(mark))
    report = night.run()
    assert not mark.exists()
    assert night.built == []  # each is looked up in the store, by its key
    assert {stage["state"] for stage in report["stages"]} == {"reused"}
    assert list(night.states.values()) == ["Completed"] * len(STAGE_NAMES)
    for path in records:  # written anew
        assert json.loads(path.read_bytes())["metadata"]["serializer"] == honest[path]["metadata"]["serializer"]
    night.run()
    assert set(night.states.values()) == {"Cached"}
