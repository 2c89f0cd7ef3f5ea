"""Data that changes while it is read, a clock that jumps back, and names and texts in any script."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.section import StageName
from podsquad.errors import DataError, InputMissingError
from tests.faults.place import Chain, Place

# Letters of many scripts, beyond the basic plane, marks that turn the direction, a NUL, quotes.
ODD = (
    "Zoë \u5317\u4eac \u0627\u0644\u0644\u063a\u0629 \U0001f600\U0001f469\u200d\U0001f680 e\u0301 "
    "\u202eesrever\u202c \x00 \ufeff \"'\\ \u2028"
)
ODD_NAME = "a 'q' \"d\" %s {x} $HOME `id` \\n Zoë \u5317\u4eac \U0001f600 \u202ertl\nline"


def squad_rows(num: int, name: str, odd: str = "") -> list[dict[str, Any]]:
    """Return made-up questions as rows of the Hub's data set; ``name`` makes their ids its own."""
    rows = []
    for number in range(num):
        context = f"{odd}Ada of {name}, number {number}, wrote the {odd} programme {number} in Turin. " * 3
        answer = f"programme {number}"
        row = {"id": f"{name}{odd}{number}", "title": f"Ada {odd}", "context": context}
        row |= {"question": f"What did Ada {odd} write?"}
        rows.append(row | {"answers": {"text": [answer], "answer_start": [context.index(answer)]}})
    return rows


def squad(num: int, name: str, odd: str = "") -> bytes:
    """Return the same as a SQuAD file."""
    paragraphs = []
    for row in squad_rows(num, name, odd):
        answers = [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}]
        qas = [{"id": row["id"], "question": row["question"], "answers": answers}]
        paragraphs.append({"context": row["context"], "qas": qas})
    return json.dumps({"data": [{"title": f"Ada {odd}", "paragraphs": paragraphs}]}).encode()


def files(folder: Path, odd: str = "") -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for split, num in (("train", 24), ("validation", 12)):
        path = folder / f"{split} {ODD_NAME if odd else ''}.json"
        path.write_bytes(squad(num, split, odd))
        paths[f"data__{split}_file"] = str(path)
    return {"data__source": "files", **paths}


def test_a_data_file_that_changes_while_it_is_read_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    given = files(place.folder / "data")
    path = Path(given["data__train_file"])
    before = path.read_bytes()

    def change() -> None:
        path.write_bytes(squad(26, "other"))

    error = place.fails(
        "download", DataError, r"data\.train_file names was changed while the stage download", act=change, **given
    )
    assert "nobody writes there" in error.do
    other = place.run("download", **given)
    assert not other.is_reused
    path.write_bytes(before)
    first = place.run("download", **given)
    assert first.artifact.key != other.artifact.key
    report = json.loads((first.artifact.path / "validation_report.json").read_text())
    assert report["splits"]["train"]["kept"] == 24


def test_a_data_file_that_goes_away_while_it_is_read_is_named(place: Place) -> None:
    given = files(place.folder / "data")
    place.fails(
        "download", InputMissingError, r"data\.train_file names", act=Path(given["data__train_file"]).unlink, **given
    )


@pytest.mark.parametrize("stage", ["download", "tokenize"])
def test_a_clock_that_jumps_back_an_hour_changes_nothing(
    stage: StageName, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, real_ns = time.time, time.time_ns

    def jump() -> None:
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() - 3600 * 10**9)
        for lease in (place.store / stage / ".leases").iterdir():  # as a renewal by that clock leaves it
            os.utime(lease, (time.time(), time.time()))

    place.run(stage, act=jump)
    made = place.ends_whole(stage)
    assert made.is_reused


def test_a_runtime_whose_clock_jumps_back_ends_in_the_same_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "clock"))
    monkeypatch.setenv("CLOCK_LOG", str(place.folder / "clock.log"))
    place.ends_whole("train")
    assert (place.folder / "clock.log").read_text() == "back\n"
    assert not any("-" in line.partition("seconds_left")[2] for line in place.told.lines)


def test_any_script_in_names_and_texts_goes_through_all_stages(place: Place) -> None:
    place.folder = place.folder / ODD_NAME
    place.store = place.folder / "store"
    given = files(place.folder / "data", ODD)
    dataset = place.run("download", **given)
    report = json.loads((dataset.artifact.path / "validation_report.json").read_text())
    assert report["splits"]["train"]["kept"] == 24
    place.chain = Chain(place.folder, {**place.chain.outcomes, "download": dataset})
    features = place.run("tokenize", **given)
    layout = json.loads((features.artifact.path / "layout.json").read_text())
    assert layout["splits"]["train"]["num_questions"] == 24
    place.chain.outcomes["tokenize"] = features
    for stage in ("compile", "train", "evaluate"):
        place.chain.outcomes[stage] = place.run(stage, **given)
    predictions = place.chain.artifact("evaluate").path / "predictions.json"
    asked = [row["id"] for row in squad_rows(12, "validation", ODD)]
    assert list(json.loads(predictions.read_text(encoding="utf-8"))) == asked
    published = place.run("publish", **given)
    record = json.loads((published.artifact.path / "publication.json").read_text(encoding="utf-8"))
    assert ODD_NAME in record["place"]
    place.check_secrets()
