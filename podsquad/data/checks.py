"""Checks that every record is true to itself; what is not goes to quarantine, with a reason.

The reasons, in the order in which they are looked for (a record carries the first that fits):

    invalid_unicode        a text holds half of a surrogate pair: no UTF-8 and no Arrow file can carry it
    empty_id               the id is empty
    empty_question         the question is empty or white space
    empty_context          the context is empty or white space
    no_answers             the list of answers is empty
    empty_answer           an annotation's text is empty or white space
    answer_not_at_offset   an annotation's text does not stand at its offset in the context
    duplicate_id           an earlier record has the same id
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podsquad.data.squad import Record
from podsquad.errors import DataError

REASONS = (
    "invalid_unicode",
    "empty_id",
    "empty_question",
    "empty_context",
    "no_answers",
    "empty_answer",
    "answer_not_at_offset",
    "duplicate_id",
)
_NUM_EXAMPLES = 3
_ANSWER_START_LIMIT = 2**31  # the dataset's answer_start is int32


@dataclass(frozen=True)
class BadRecord:
    """A record that was set aside; ``reason`` is one of REASONS, ``detail`` says it with the values."""

    record: Record
    reason: str
    detail: str


@dataclass(frozen=True)
class CheckedSplit:
    """One split after the checks: ``kept`` and ``bad`` are each in the source's order."""

    split: str
    kept: tuple[Record, ...]
    bad: tuple[BadRecord, ...]

    @property
    def num_records(self) -> int:
        """Number of records that the source had."""
        return len(self.kept) + len(self.bad)


def find_fault(record: Record) -> tuple[str, str] | None:
    """Return the reason (of REASONS, never ``duplicate_id``) and a detail; nothing for a good record."""
    texts = {"id": record.id, "title": record.title, "context": record.context, "question": record.question}
    texts |= {f"answers[{n}]": answer.text for n, answer in enumerate(record.answers)}
    for name, text in texts.items():
        place = _lone_surrogate(text)
        if place is not None:
            return "invalid_unicode", f"character {place} of its {name} is half of a surrogate pair"
    if not record.id:
        return "empty_id", "its id is empty"
    if not record.question.strip():
        return "empty_question", "its question is empty"
    if not record.context.strip():
        return "empty_context", "its context is empty"
    if not record.answers:
        return "no_answers", "its list of answers is empty"
    for answer in record.answers:
        if not answer.text.strip():
            return "empty_answer", "one of its answers is empty"
        # startswith() would take a negative offset for one from the end, and find the answer there.
        in_range = 0 <= answer.start < _ANSWER_START_LIMIT
        if not in_range or not record.context.startswith(answer.text, answer.start):
            return "answer_not_at_offset", _offset_detail(record, answer.text, answer.start)
    return None


def check_split(split: str, records: Iterable[Record], seen_ids: dict[str, str]) -> CheckedSplit:
    """Check every record of one split.

    ``seen_ids`` maps the ids of good records so far to their place, and is added to; give the same one to the
    next split to hold ids unique over both. Of records with one id the first good one is kept.
    """
    kept: list[Record] = []
    bad: list[BadRecord] = []
    for record in records:
        fault = find_fault(record)
        if fault is None and record.id in seen_ids:
            fault = "duplicate_id", f"its id also stands at {seen_ids[record.id]}"
        if fault is not None:
            bad.append(BadRecord(record, *fault))
            continue
        seen_ids[record.id] = f"{split} {record.where}"
        kept.append(record)
    return CheckedSplit(split, tuple(kept), tuple(bad))


def refuse_bad_split(checked: CheckedSplit, max_bad_share: float) -> None:
    """Raise DataError when more than ``max_bad_share`` of a split's records are bad, or when none is left."""
    if not checked.num_records:
        raise DataError(
            f"the {checked.split} split has no questions",
            why="the source is empty, or it is the wrong file",
            do="check data.source and the file or dataset that it names",
        )
    share = len(checked.bad) / checked.num_records
    if share <= max_bad_share and checked.kept:
        return
    reasons = ", ".join(f"{count} x {reason}" for reason, count in count_reasons(checked).items())
    examples = "; ".join(
        f"{bad.record.where} (id {bad.record.id[:40]!r}): {bad.detail}" for bad in checked.bad[:_NUM_EXAMPLES]
    )
    allowed = math.ceil(share * 1000) / 1000
    raise DataError(
        f"{len(checked.bad)} of {checked.num_records} records of the {checked.split} split are bad "
        f"({share:.2%}), more than the allowed {max_bad_share:.2%}",
        why=f"{reasons}. First: {examples}",
        do="repair the source"
        + (f"; or leave these records out, with --set data.max_bad_share={allowed:g}" if checked.kept else ""),
    )


def count_reasons(checked: CheckedSplit) -> dict[str, int]:
    """Return the number of bad records per reason, the commonest first (REASONS' order among equals)."""
    counts = Counter(bad.reason for bad in checked.bad)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], REASONS.index(item[0]))))


def report(splits: Sequence[CheckedSplit], max_bad_share: float) -> dict[str, Any]:
    """Return the validation report: what was read, kept and set aside, and how long the texts are.

    Lengths are in characters, answers also in words (split at white space); of answers the first annotation
    counts. ``contexts_in_several_splits`` counts paragraphs that stand in more than one split: no fault, but
    a model that was trained on a paragraph is tested kindly on it.
    """
    contexts = [{record.context for record in checked.kept} for checked in splits]
    everywhere = Counter(context for group in contexts for context in group)
    return {
        "max_bad_share": max_bad_share,
        "contexts_in_several_splits": sum(count > 1 for count in everywhere.values()),
        "splits": {
            checked.split: {
                "records": checked.num_records,
                "kept": len(checked.kept),
                "quarantined": len(checked.bad),
                "reasons": count_reasons(checked),
                "articles": len({record.title for record in checked.kept}),
                "contexts": len(group),
                "answers_per_question": _spread([len(record.answers) for record in checked.kept]),
                "context_characters": _spread([len(context) for context in group]),
                "question_characters": _spread([len(record.question) for record in checked.kept]),
                "answer_characters": _spread([len(record.answers[0].text) for record in checked.kept]),
                "answer_words": _spread([len(record.answers[0].text.split()) for record in checked.kept]),
            }
            for checked, group in zip(splits, contexts, strict=True)
        },
    }


def _spread(lengths: Sequence[int]) -> dict[str, float]:
    if not lengths:
        return {"min": 0, "mean": 0.0, "p50": 0, "p95": 0, "max": 0}
    values = np.sort(np.asarray(lengths, dtype=np.int64))
    last = len(values) - 1
    return {
        "min": int(values[0]),
        "mean": round(int(values.sum()) / len(values), 3),
        "p50": int(values[round(0.5 * last)]),
        "p95": int(values[round(0.95 * last)]),
        "max": int(values[-1]),
    }


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _offset_detail(record: Record, text: str, start: int) -> str:
    answer = text if len(text) <= 40 else text[:37] + "..."
    found = record.context[start : start + len(answer)] if start >= 0 else ""
    detail = f"answer {answer!r} does not stand at character {start}"
    if found:
        detail += f", where the context reads {found!r}"
    place = record.context.find(text)
    if place >= 0:
        detail += f" (it first stands at {place})"
    return detail
