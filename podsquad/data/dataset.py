"""The download stage: from a source to a dataset folder, and the reader of that folder.

    train.arrow, validation.arrow   one row per good question (arrow.DATASET_SCHEMA), in the source's order
    validation_report.json          what was read, kept and set aside (checks.report)
    quarantine.jsonl                each record set aside, with its place and the reason
    origin.json                     source, revision, checksums

All bytes are a pure function of the settings and of the data: no times, no paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from podsquad.config.data_settings import DataSettings
from podsquad.data.arrow import DATASET_SCHEMA, SPLITS, read_table
from podsquad.data.checks import CheckedSplit, check_split, refuse_bad_split, report
from podsquad.data.sources import HubLoader, load_source
from podsquad.data.squad import Record
from podsquad.errors import DataError, from_os_error
from podsquad.store.durable import durable_file, parse_object, write_bytes, write_json

REPORT_FILE = "validation_report.json"
QUARANTINE_FILE = "quarantine.jsonl"
ORIGIN_FILE = "origin.json"
_ROWS_PER_BATCH = 16_384


@dataclass(frozen=True)
class Questions:
    """One split of a dataset, as columns of equal length in the source's order.

    ``contexts`` repeats one string object for all questions on a paragraph. ``answers`` holds the
    annotations' texts of each question, ``answer_starts`` their offsets in characters.
    """

    ids: list[str]
    titles: list[str]
    contexts: list[str]
    questions: list[str]
    answers: list[tuple[str, ...]]
    answer_starts: list[tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.ids)


def build_dataset(
    settings: DataSettings,
    output: Path,
    *,
    log: Callable[[str], None],
    hub_loader: HubLoader | None = None,
) -> None:
    """Load the source, check every record and write the dataset into the folder ``output``, which must exist.

    Equal settings and equal data give equal bytes. Raises what ``load_source`` raises; DataError when a
    split's share of bad records exceeds ``settings.max_bad_share``; StoreError when ``output`` cannot be
    written.
    """
    loaded = load_source(settings, hub_loader=hub_loader)
    seen_ids: dict[str, str] = {}
    # Validation first: a question in both splits is dropped from training, so the yardstick stays whole.
    checked = {split: check_split(split, loaded.records[split], seen_ids) for split in reversed(SPLITS)}
    ordered = [checked[split] for split in SPLITS]
    for part in ordered:
        refuse_bad_split(part, settings.max_bad_share)
        line = f"{part.split}: {len(part.kept)} questions"
        if part.bad:
            line += f", {len(part.bad)} set aside ({QUARANTINE_FILE} says why)"
        log(line)
    summary = report(ordered, settings.max_bad_share)
    if summary["contexts_in_several_splits"]:
        log(f"note: {summary['contexts_in_several_splits']} paragraphs stand in both splits")
    try:
        for part in ordered:
            write_split(output / f"{part.split}.arrow", part.kept)
        write_bytes(output / QUARANTINE_FILE, _quarantine(ordered))
        write_json(output / REPORT_FILE, summary)
        write_json(output / ORIGIN_FILE, loaded.origin)
    except OSError as error:
        raise from_os_error(error, "writing the dataset") from error


def write_split(path: Path, records: Sequence[Record]) -> None:
    """Write records durably as an Arrow IPC file of DATASET_SCHEMA: equal records, equal bytes.

    Each context is stored once per file: the file format carries one dictionary for all of its record
    batches. Raises OSError as the system does.
    """
    places: dict[str, int] = {}
    indices = [places.setdefault(record.context, len(places)) for record in records]
    contexts = pa.array(list(places), pa.string())
    schema = DATASET_SCHEMA
    with durable_file(path) as file, pa.ipc.new_file(file, schema) as writer:
        # An empty split still needs its dictionary in the file.
        for first in range(0, max(len(records), 1), _ROWS_PER_BATCH):
            part = slice(first, first + _ROWS_PER_BATCH)
            rows = records[part]
            answers = [
                [{"text": answer.text, "answer_start": answer.start} for answer in record.answers] for record in rows
            ]
            columns = [
                pa.array([record.id for record in rows], pa.string()),
                pa.array([record.title for record in rows], pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(indices[part], pa.int32()), contexts),
                pa.array([record.question for record in rows], pa.string()),
                pa.array(answers, schema.field("answers").type),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def read_questions(folder: Path, split: str) -> Questions:
    """Return one split of a dataset folder. Raises DataError when it is not one."""
    table = read_table(folder / f"{split}.arrow", DATASET_SCHEMA)
    contexts: list[str] = []
    for chunk in table.column("context").chunks:
        texts = chunk.dictionary.to_pylist()
        contexts.extend(texts[index] for index in chunk.indices.to_pylist())
    answers = table.column("answers").to_pylist()
    return Questions(
        ids=table.column("id").to_pylist(),
        titles=table.column("title").to_pylist(),
        contexts=contexts,
        questions=table.column("question").to_pylist(),
        answers=[tuple(answer["text"] for answer in row) for row in answers],
        answer_starts=[tuple(answer["answer_start"] for answer in row) for row in answers],
    )


def read_origin(folder: Path) -> dict[str, Any]:
    """Return a dataset's origin. Raises DataError."""
    return _read_json(folder / ORIGIN_FILE)


def read_report(folder: Path) -> dict[str, Any]:
    """Return a dataset's validation report. Raises DataError."""
    return _read_json(folder / REPORT_FILE)


def _quarantine(splits: Sequence[CheckedSplit]) -> bytes:
    lines = []
    for part in splits:
        for bad in part.bad:
            entry = {
                "split": part.split,
                "where": bad.record.where,
                "id": bad.record.id,
                "reason": bad.reason,
                "detail": bad.detail,
                "record": bad.record.as_json(),
            }
            # ASCII: half of a surrogate pair, one of the reasons, has no UTF-8 form but has an escape.
            lines.append(json.dumps(entry, ensure_ascii=True) + "\n")
    return "".join(lines).encode("ascii")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: {error}",
            why="it is missing, cut short or was changed by hand",
            do="delete that dataset artifact; the next run builds it again",
        ) from error
