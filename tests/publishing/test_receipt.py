"""The receipt: what is in it, that equal facts give equal bytes, and that it is read strictly."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podsquad.errors import DataError, InternalError
from podsquad.publishing.receipt import (
    STAGES,
    encode_receipt,
    make_receipt,
    read_receipt,
    read_stage_record,
    version_key,
)
from podsquad.store.contents import FileDigest
from podsquad.store.durable import encode_json
from podsquad.store.keys import key_of
from tests.publishing.receipts import METRICS, ORIGIN, PUBLISHED, TRAINING, Made, make_artifacts


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_artifacts(tmp_path)


def test_every_line_leads_back_to_the_data(made: Made) -> None:
    told = json.loads(encode_receipt(made.receipt()))
    assert told["data"] == ORIGIN
    assert (told["seed"], told["podsquad"], told["receipt_format"]) == (1984, "0.1.0", 1)
    assert told["gate"] == made.gate() | {"slices": []}
    assert told["scores"] == {name: METRICS[name] for name in told["scores"]}
    assert told["hardware"] == {"kind": "cpu", "name": "Some CPU", "threads": 2, "processes": 1}
    assert tuple(sorted(told["stages"])) == tuple(sorted(STAGES))
    for name, stage in told["stages"].items():
        assert stage["key"] == key_of(stage["ingredients"]) == made.artifacts[name].key
        assert stage["digest"] == made.artifacts[name].digest
        for upstream, digest in stage["ingredients"]["inputs"].items():
            assert digest == told["stages"][upstream]["digest"]
    assert {name: entry["source"] for name, entry in told["published"].items()} == PUBLISHED | {"README.md": ""}
    for entry in told["published"].values():
        if stage := entry["source"].partition("/")[0]:
            file = entry["source"].partition("/")[2]
            assert {name: entry[name] for name in ("num_bytes", "sha256")} == told["stages"][stage]["files"][file]


def test_what_differs_between_equal_builds_is_not_in_it(tmp_path: Path) -> None:
    first, second = (make_artifacts(tmp_path / name) for name in ("here", "elsewhere"))
    content = encode_receipt(first.receipt())
    assert content == encode_receipt(second.receipt())
    text = content.decode()
    assert "record/" not in text
    assert "programs/" not in text
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert "seconds" not in text


def test_the_version_is_named_by_the_receipt_s_bytes(made: Made, tmp_path: Path) -> None:
    content = encode_receipt(made.receipt())
    assert len(version_key(content)) == 64
    changed = make_artifacts(tmp_path / "other", weights="other weights").receipt()
    assert version_key(encode_receipt(changed)) != version_key(content)


def test_it_comes_back_as_it_was(made: Made) -> None:
    receipt = made.receipt()
    assert read_receipt(encode_receipt(receipt)) == receipt


def test_emulated_says_emulated(made: Made) -> None:
    training = TRAINING | {"device": "ipu", "emulated": True}
    assert made.receipt(training=training).hardware.kind == "ipu emulated on cpu"
    assert made.receipt(training=training | {"emulated": False}).hardware.kind == "ipu"


def test_a_file_that_no_artifact_has_is_not_published(made: Made) -> None:
    published = {"model.safetensors": FileDigest(7, "f" * 64)}
    with pytest.raises(InternalError, match=r"model\.safetensors is to be published and is no file of an artifact"):
        made.receipt(published=published)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"gate": {"verdict": "first", "reason": "see /home/ada/notes"}}, "/home/ada/notes"),
        ({"origin": ORIGIN | {"note": "hf_abcdefghijklmnopqrstuvwxyz0123456789"}}, "***"),
        ({"training": TRAINING | {"device_name": "/dev/nvidia0"}}, "/dev/nvidia0"),
    ],
    ids=["path", "token", "device"],
)
def test_neither_paths_nor_secrets_get_in(made: Made, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InternalError, match="must not stand in a receipt") as caught:
        made.receipt(**changes)
    assert named in caught.value.what
    assert caught.value.why
    assert caught.value.do
    assert "hf_abc" not in str(caught.value)


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        for name in path[:-1]:
            told = told[name]
        del told[path[-1]]

    return change


def _with(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_without("seed"), "seed: Field required"),
        (_without("stages", "compile"), "the stage compile is missing"),
        (_with({}, "stages", "deploy"), "stages.deploy"),
        (_without("published", "model.safetensors"), "no weights"),
        (_with(2, "receipt_format"), "receipt_format"),
        (_with("1984", "seed"), "seed: Input should be a valid integer"),
        (_with(1, "something"), "something: Extra inputs are not permitted"),
        (_with("g" * 64, "stages", "train", "digest"), "stages.train.digest"),
        (_with({}, "gate"), "the gate has no verdict"),
        (_with("some", "hardware", "kind"), "hardware.kind"),
        *(
            (_with({"num_bytes": 1, "sha256": "a" * 64, "source": ""}, "published", name), "no name of a file")
            for name in ("../up", "/etc/passwd", "a/../../b", "a//b", "./a", "a\\..\\b", "", "a\nb", ".")
        ),
        (_with({"num_bytes": 1, "sha256": "a" * 64, "source": ""}, "published", "receipt.json"), "cannot list itself"),
    ],
)
def test_a_receipt_of_another_form_is_refused_by_name(
    made: Made, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    told = json.loads(encode_receipt(made.receipt()))
    change(told)
    with pytest.raises(DataError, match=r"receipt\.json is no receipt of podsquad") as caught:
        read_receipt(encode_json(told))
    assert named in caught.value.what


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"receipt_format": NaN}'])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"receipt\.json is no receipt"):
        read_receipt(content)


def test_the_same_content_in_other_bytes_is_refused(made: Made) -> None:
    content = encode_receipt(made.receipt())
    for other in (content + b"\n", json.dumps(json.loads(content)).encode(), content.replace(b": ", b":  ", 1)):
        with pytest.raises(DataError, match="not written as podsquad writes it"):
            read_receipt(other)
    twice = content.replace(b'  "seed": 1984', b'  "seed": 7,\n  "seed": 1984')
    assert twice != content
    with pytest.raises(DataError):
        read_receipt(twice)


def test_an_artifact_without_a_manifest_has_no_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*manifest\.json"):
        read_stage_record(tmp_path)


def test_making_one_needs_all_stages(made: Made) -> None:
    stages = {name: read_stage_record(artifact.path) for name, artifact in made.artifacts.items()}
    with pytest.raises(InternalError, match="the stage compile is missing"):
        make_receipt(
            stages={name: record for name, record in stages.items() if name != "compile"},
            origin=ORIGIN,
            training=TRAINING,
            metrics=METRICS,
            gate=None,
            published={},
            version="0.1.0",
        )
