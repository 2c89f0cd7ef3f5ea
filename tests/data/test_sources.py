"""The sources: one set of records whichever way they come, and what each failure means."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.data_settings import DataSettings
from podsquad.data.sources import Row, digest_records, load_source
from podsquad.errors import (
    DataError,
    DiskFullError,
    InputMissingError,
    PodsquadError,
    SettingsError,
    TemporaryError,
)

QA = {"id": "q1", "question": "Who wrote it?", "answers": [{"text": "Ada", "answer_start": 0}]}
DOCUMENT = {"data": [{"title": "Ada", "paragraphs": [{"context": "Ada wrote it.", "qas": [QA]}]}]}
ROW = {
    "id": "q1",
    "title": "Ada",
    "context": "Ada wrote it.",
    "question": "Who wrote it?",
    "answers": {"text": ["Ada"], "answer_start": [0]},
}
HUB = DataSettings(source="hub")


def files(folder: Path, content: bytes | None = None) -> DataSettings:
    content = json.dumps(DOCUMENT).encode() if content is None else content
    for name in ("train", "validation"):
        (folder / f"{name}.json").write_bytes(content)
    return DataSettings(source="files", train_file=folder / "train.json", validation_file=folder / "validation.json")


def loader_of(rows: Iterable[Row]) -> Any:
    def load(name: str, revision: str) -> Mapping[str, Iterable[Row]]:
        assert (name, revision) == (HUB.hub_dataset, HUB.hub_revision)
        return {"train": list(rows), "validation": list(rows)}

    return load


def failing_loader(error: BaseException) -> Any:
    def load(name: str, revision: str) -> Mapping[str, Iterable[Row]]:
        raise error

    return load


def test_hub_and_files_give_equal_records(tmp_path: Path) -> None:
    from_files = load_source(files(tmp_path)).records["train"]
    from_hub = load_source(HUB, hub_loader=loader_of([ROW])).records["train"]
    assert digest_records(from_files) == digest_records(from_hub)
    assert from_hub[0].title == "Ada"


def test_the_origin_of_files_tells_content_and_no_path(tmp_path: Path) -> None:
    content = gzip.compress(json.dumps(DOCUMENT).encode(), mtime=0)
    origin = load_source(files(tmp_path, content)).origin
    assert origin["files"]["train"] == {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert str(tmp_path) not in json.dumps(origin)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_source(files(elsewhere, content)).origin == origin


def test_the_origin_of_the_hub_names_dataset_and_revision() -> None:
    origin = load_source(HUB, hub_loader=loader_of([ROW])).origin
    assert origin["dataset"] == "rajpurkar/squad"
    assert origin["revision"] == HUB.hub_revision
    assert origin["splits"]["train"]["records"] == 1


def test_the_digest_of_records_is_what_its_docstring_says() -> None:
    records = load_source(HUB, hub_loader=loader_of([ROW | {"title": "Ä\ud800"}])).records["train"]
    value = {
        "id": "q1",
        "title": "Ä\ud800",
        "context": "Ada wrote it.",
        "question": "Who wrote it?",
        "answers": [{"text": "Ada", "answer_start": 0}],
    }
    line = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert digest_records(records) == hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


def test_the_demo_world_is_a_source_like_the_others() -> None:
    settings = DataSettings(demo_train_questions=20, demo_validation_questions=10)
    loaded = load_source(settings)
    assert [len(loaded.records[split]) for split in ("train", "validation")] == [20, 10]
    assert loaded.origin["seed"] == settings.demo_seed
    assert load_source(settings).origin == loaded.origin


@pytest.mark.parametrize("split", ["train", "validation"])
def test_another_number_of_rows_than_expected_is_refused(split: str, tmp_path: Path) -> None:
    for settings, loader in ((files(tmp_path), None), (HUB, loader_of([ROW]))):
        wanting = settings.model_copy(update={f"expected_{split}_questions": 2})
        with pytest.raises(DataError, match=f"the {split} split has 1 rows, not the expected 2") as caught:
            load_source(wanting, hub_loader=loader)
        assert f"data.expected_{split}_questions=1" in caught.value.do


def test_an_unset_file_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"data\.train_file is not set"):
        load_source(DataSettings(source="files"))


def test_a_missing_split_is_named() -> None:
    with pytest.raises(DataError, match="has no split 'validation'; it has: train"):
        load_source(HUB, hub_loader=lambda name, revision: {"train": [ROW]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"answers": {"text": ["a"], "answer_start": []}}, "1 answer texts but 0", id="lengths"),
        pytest.param({"answers": [{"text": "a"}]}, "is not a row of SQuAD", id="json-layout"),
        pytest.param({"answers": {"text": [3], "answer_start": [0]}}, "is not a row of SQuAD", id="number"),
        pytest.param({"id": None}, "is not a row of SQuAD", id="no-id"),
        pytest.param({"context": 7}, "is not a row of SQuAD", id="context-a-number"),
    ],
)
def test_rows_of_another_layout_are_refused_with_their_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_source(HUB, hub_loader=loader_of([ROW, ROW | change]))
    assert "rajpurkar/squad train[1]" in caught.value.what


class _Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class HfHubHTTPError(OSError):
    """As huggingface_hub's: an error with a response."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.response = _Response(status)


class RepositoryNotFoundError(HfHubHTTPError):
    """As huggingface_hub's."""


class DatasetNotFoundError(FileNotFoundError):
    """As datasets'."""


class TransportError(Exception):
    """As httpx's."""


class ConnectTimeout(TransportError):  # noqa: N818
    """As httpx's."""


class LocalEntryNotFoundError(FileNotFoundError):
    """As huggingface_hub's: not in the cache, the network failed."""


class EntryNotFoundError(Exception):
    """As huggingface_hub's."""


class OfflineModeIsEnabled(ConnectionError):  # noqa: N818
    """As huggingface_hub's."""


class GatedRepoError(RepositoryNotFoundError):
    """As huggingface_hub's."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(HfHubHTTPError("401", 401), SettingsError, id="401"),
        pytest.param(HfHubHTTPError("403", 403), SettingsError, id="403"),
        pytest.param(RepositoryNotFoundError("?", 401), SettingsError, id="unknown-or-private"),
        pytest.param(GatedRepoError("gated", 403), SettingsError, id="gated"),
        pytest.param(RepositoryNotFoundError("no", 404), InputMissingError, id="404"),
        pytest.param(DatasetNotFoundError("no"), InputMissingError, id="dataset-not-found"),
        pytest.param(caused(DatasetNotFoundError("no"), HfHubHTTPError("x", 503)), TemporaryError, id="503-below"),
        pytest.param(OfflineModeIsEnabled("offline"), InputMissingError, id="offline"),
        pytest.param(
            caused(ConnectionError("no"), OfflineModeIsEnabled("offline")),
            InputMissingError,
            id="offline-below",
        ),
        pytest.param(
            ConnectionError("Couldn't reach 'x' on the Hub (OfflineModeIsEnabled)"),
            InputMissingError,
            id="offline-as-datasets-says-it",
        ),
        pytest.param(
            ConnectionError("Couldn't reach 'x' on the Hub (LocalEntryNotFoundError)"),
            TemporaryError,
            id="no-network-as-datasets-says-it",
        ),
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), TemporaryError, id="refused"),
        pytest.param(ConnectTimeout("slow"), TemporaryError, id="httpx-timeout"),
        pytest.param(TimeoutError("slow"), TemporaryError, id="timeout"),
        pytest.param(HfHubHTTPError("busy", 429), TemporaryError, id="429"),
        pytest.param(HfHubHTTPError("broken", 502), TemporaryError, id="502"),
        pytest.param(caused(LocalEntryNotFoundError("cache"), ConnectTimeout("slow")), TemporaryError, id="no-cache"),
        pytest.param(OSError(errno.ENOSPC, "no space", "/cache/x"), DiskFullError, id="disk-full"),
        pytest.param(ValueError("bad parquet"), DataError, id="unreadable"),
    ],
)
def test_each_failure_of_the_hub_has_its_meaning(error: Exception, kind: type[PodsquadError]) -> None:
    with pytest.raises(kind) as caught:
        load_source(HUB, hub_loader=failing_loader(error))
    assert type(caught.value) is kind
    assert caught.value.do
    assert "rajpurkar/squad" in caught.value.what or kind is DiskFullError


def test_a_network_that_fails_while_rows_are_read_is_temporary() -> None:
    def rows() -> Iterable[Row]:
        yield ROW
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(TemporaryError):
        load_source(HUB, hub_loader=lambda name, revision: {"train": rows(), "validation": []})


def test_the_token_is_never_told() -> None:
    secret = "hf_" + "AbCd1234" * 4
    message = f"GET https://user:{secret}@huggingface.co/x with authorization: Bearer {secret} and {secret}"
    for error in (HfHubHTTPError(message, 401), ValueError(message), ConnectionError(message)):
        with pytest.raises(PodsquadError) as caught:
            load_source(HUB, hub_loader=failing_loader(error))
        assert secret not in str(caught.value)
        # A traceback would print the library's error below ours.
        assert caught.value.__suppress_context__


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    with pytest.raises(DataError):
        load_source(HUB, hub_loader=failing_loader(one))


def test_the_genuine_errors_of_the_hub_client_are_understood() -> None:
    httpx, hub = pytest.importorskip("httpx"), pytest.importorskip("huggingface_hub.errors")

    def response(status: int) -> Any:
        return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/x"))

    for error, kind in (
        (hub.RepositoryNotFoundError("no", response=response(401)), SettingsError),
        (hub.GatedRepoError("no", response=response(403)), SettingsError),
        (hub.RevisionNotFoundError("no", response=response(404)), InputMissingError),
        (hub.HfHubHTTPError("no", response=response(503)), TemporaryError),
        (hub.OfflineModeIsEnabled("no"), InputMissingError),
        (hub.LocalEntryNotFoundError("no"), TemporaryError),
        (httpx.ReadTimeout("slow"), TemporaryError),
        (httpx.ConnectError("refused"), TemporaryError),
    ):
        with pytest.raises(kind) as caught:
            load_source(HUB, hub_loader=failing_loader(error))
        assert type(caught.value) is kind
