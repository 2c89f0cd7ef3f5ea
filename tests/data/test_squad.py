"""SQuAD's JSON layout: what is read, and that every other shape is refused with its place."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.data.squad import Answer, Record, parse_squad, read_file
from podsquad.errors import DataError, InputMissingError

SHARED = Path(__file__).resolve().parents[3] / "shared/data/squad"

GOOD: dict[str, Any] = {
    "version": "1.1",
    "data": [
        {
            "title": "Ada",
            "paragraphs": [
                {
                    "context": "Ada wrote it in 1843.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Who wrote it?",
                            "answers": [{"text": "Ada", "answer_start": 0}],
                        },
                        {
                            "id": "q2",
                            "question": "When?",
                            "answers": [
                                {"text": "1843", "answer_start": 16},
                                {"text": "in 1843", "answer_start": 13},
                            ],
                        },
                    ],
                }
            ],
        }
    ],
}


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_records_come_in_order_with_their_places() -> None:
    first, second = parse_squad(dump(GOOD))
    assert first == Record(
        "q1",
        "Ada",
        "Ada wrote it in 1843.",
        "Who wrote it?",
        (Answer("Ada", 0),),
        "data[0].paragraphs[0].qas[0]",
    )
    assert [answer.text for answer in second.answers] == ["1843", "in 1843"]
    assert first.as_json()["answers"] == [{"text": "Ada", "answer_start": 0}]


@pytest.mark.parametrize(
    "pack",
    [lambda b: b, gzip.compress, lambda b: b"\xef\xbb\xbf" + b],
    ids=["plain", "gzip", "byte-order-mark"],
)
def test_packing_is_told_by_content(pack: Any) -> None:
    assert parse_squad(pack(dump(GOOD))) == parse_squad(dump(GOOD))


def test_a_title_may_be_missing() -> None:
    document = copy.deepcopy(GOOD)
    del document["data"][0]["title"]
    assert parse_squad(dump(document))[0].title == ""


QA = ("data", 0, "paragraphs", 0, "qas", 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param(("data",), None, "the document has no 'data'", id="no-data"),
        pytest.param(("data",), {}, "data is not a list but {}", id="data-an-object"),
        pytest.param(("data", 0), 7, "data[0] is not an object but 7", id="article-a-number"),
        pytest.param(("data", 0, "title"), 3, "data[0].title is not a text but 3", id="title-a-number"),
        pytest.param(("data", 0, "paragraphs"), None, "data[0] has no 'paragraphs'", id="no-paragraphs"),
        pytest.param((*QA[:4], "context"), None, "data[0].paragraphs[0] has no 'context'", id="no-context"),
        pytest.param((*QA[:4], "qas"), "x", "data[0].paragraphs[0].qas is not a list", id="qas-a-text"),
        pytest.param((*QA, "answers"), None, "data[0].paragraphs[0].qas[1] has no 'answers'", id="no-answers"),
        pytest.param((*QA, "id"), 12, "qas[1].id is not a text but 12", id="id-a-number"),
        pytest.param((*QA, "is_impossible"), True, "qas[1] is marked as impossible", id="squad-v2"),
        pytest.param((*QA, "answers", 1, "answer_start"), True, "not a whole number but true", id="bool"),
        pytest.param((*QA, "answers", 1, "answer_start"), 1.5, "not a whole number but 1.5", id="float"),
        pytest.param((*QA, "answers", 1, "text"), None, "qas[1].answers[1] has no 'text'", id="no-text"),
    ],
)
def test_another_shape_is_refused_with_its_place(path: tuple[str | int, ...], value: Any, message: str) -> None:
    document = copy.deepcopy(GOOD)
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    if value is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    with pytest.raises(DataError) as caught:
        parse_squad(dump(document), "train.json")
    assert str(caught.value).startswith("train.json: ")
    assert message in caught.value.what


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is not JSON", id="empty"),
        pytest.param(b'{"data": [', "is not JSON", id="cut-short"),
        pytest.param(b"<html></html>", "is not JSON", id="a-web-page"),
        pytest.param(b"[1, 2]", "the document is not an object", id="a-list"),
        pytest.param(b"[" * 200_000, "is not JSON", id="nested-beyond-reason"),
        pytest.param(b'{"data": "\xff"}', "is not UTF-8: byte 10 is 0xff", id="latin-1"),
        pytest.param(gzip.compress(dump(GOOD))[:-9], "is a damaged gzip file", id="gzip-cut-short"),
        pytest.param(gzip.compress(dump(GOOD))[:-5] + b"abcde", "is a damaged gzip file", id="gzip-crc"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\xff" * 40, "is a damaged gzip file", id="gzip-noise"),
    ],
)
def test_what_is_not_json_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_squad(content, "train.json")
    assert message in caught.value.what


def test_every_cut_of_a_gzip_file_is_refused() -> None:
    packed = gzip.compress(dump(GOOD))
    for length in range(2, len(packed)):
        with pytest.raises(DataError):
            parse_squad(packed[:length])


def test_a_missing_file_names_path_and_setting(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"nowhere\.json \(data\.train_file\): No such file"):
        read_file(tmp_path / "nowhere.json", "data.train_file")
    with pytest.raises(InputMissingError, match="Is a directory"):
        read_file(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real SQuAD questions are not at {SHARED}")
@pytest.mark.parametrize(("name", "count"), [("train", 2575), ("dev", 612)])
def test_real_squad_is_read_whole(name: str, count: int) -> None:
    records = parse_squad(read_file(SHARED / f"{name}.json"))
    assert len(records) == count
    assert all(record.context.startswith(a.text, a.start) for record in records for a in record.answers)
