"""Where questions come from: SQuAD JSON files, a dataset of the Hugging Face Hub, or the demo world.

Each source gives its splits as records in the source's order, and an origin: what a third party needs to
fetch the same data again. An origin never holds a time or a path, so equal data gives equal artifacts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podsquad.config.data_settings import DataSettings
from podsquad.data.arrow import SPLITS
from podsquad.data.squad import Answer, Record, iterate_squad, parse_squad, read_file
from podsquad.errors import DataError, PodsquadError, SettingsError
from podsquad.hub_errors import Wording, explain_hub_error
from podsquad.hub_waits import bound_hub_waits
from podsquad.store.durable import canonical_json

Row = Mapping[str, Any]
HubLoader = Callable[[str, str], Mapping[str, Iterable[Row]]]
"""Given a dataset's name and revision, return its rows by split."""


@dataclass(frozen=True)
class Loaded:
    """The records of each split (keys: SPLITS) and where they came from, as plain JSON values."""

    records: dict[str, list[Record]]
    origin: dict[str, Any]


def load_source(settings: DataSettings, *, hub_loader: HubLoader | None = None) -> Loaded:
    """Read the source that the settings name and check its row counts against the expected ones.

    ``hub_loader`` stands in for ``datasets.load_dataset`` in tests. Raises InputMissingError for what is not
    there, DataError for what is no SQuAD v1.1 or has another number of rows, SettingsError for refused
    access, and TemporaryError for a network that failed.
    """
    if settings.source == "files":
        loaded = _load_files(settings)
    elif settings.source == "hub":
        loaded = _load_hub(settings, hub_loader or _load_dataset)
    else:
        loaded = _load_demo(settings)
    for split, records in loaded.records.items():
        _check_count(split, len(records), settings)
    for split, records in loaded.records.items():
        loaded.origin.setdefault("splits", {})[split] = {
            "records": len(records),
            "records_sha256": digest_records(records),
        }
    return loaded


def digest_records(records: Sequence[Record]) -> str:
    """Return the SHA-256 of the records, one canonical JSON per line: equal for equal data from any source.

    The lines are what ``json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`` gives
    for the records of ``Record.as_json``, in UTF-8 (half surrogate pairs passed through), each closed by a
    newline.
    """
    digest = hashlib.sha256()
    for record in records:
        digest.update((canonical_json(record.as_json()) + "\n").encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _load_files(settings: DataSettings) -> Loaded:
    records: dict[str, list[Record]] = {}
    files: dict[str, Any] = {}
    for split, path in zip(SPLITS, (settings.train_file, settings.validation_file), strict=True):
        setting = f"data.{split}_file"
        if path is None:
            raise SettingsError(
                f'data.source is "files" but {setting} is not set',
                why="files are read from where the settings say, and there is no other place to look for them",
                do=f"add --set {setting}=FILE.json, or choose another data.source",
            )
        content = read_file(path, setting)
        records[split] = parse_squad(content, f"{path} ({setting})")
        # Not the name: the key counts the content alone, and equal keys must hold equal bytes.
        files[split] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return Loaded(records, {"source": "files", "revision": None, "files": files})


def _load_demo(settings: DataSettings) -> Loaded:
    from podsquad.data.demo.world import make_demo_world

    sizes = (settings.demo_train_questions, settings.demo_validation_questions)
    world = make_demo_world(settings.demo_seed, *sizes)
    records = {
        split: list(iterate_squad(document, f"the demo world's {split} split"))
        for split, document in zip(SPLITS, (world.train, world.validation), strict=True)
    }
    return Loaded(records, {"source": "demo", "revision": None, "seed": settings.demo_seed})


def _load_hub(settings: DataSettings, loader: HubLoader) -> Loaded:
    name, revision = settings.hub_dataset, settings.hub_revision
    records: dict[str, list[Record]] = {}
    try:
        splits = loader(name, revision)
        for split in SPLITS:
            if split not in splits:
                raise DataError(
                    f"the dataset {name} has no split {split!r}; it has: {', '.join(splits) or 'none'}",
                    why="one is trained on and the other is scored",
                    do='choose a dataset with the splits "train" and "validation" in data.hub_dataset',
                )
            records[split] = [_from_row(row, f"{name} {split}[{number}]") for number, row in enumerate(splits[split])]
    except PodsquadError:
        raise
    except Exception as error:
        # "from None": a library's message may repeat request headers, and with them the token.
        raise explain_hub_error(error, _wording(name, revision)) from None
    return Loaded(records, {"source": "hub", "dataset": name, "revision": revision})


def _wording(name: str, revision: str) -> Wording:
    return Wording(
        what=f"cannot load the dataset {name} at revision {revision}",
        doing=f"downloading the dataset {name}",
        refused="check data.hub_dataset, accept the dataset's conditions on its page, and set HF_TOKEN",
        missing="check data.hub_dataset and data.hub_revision; a private dataset also needs HF_TOKEN",
        offline="unset HF_HUB_OFFLINE and HF_DATASETS_OFFLINE for one run, or use data.source=files",
        unreachable="run the same command again later; without a network, use data.source=files",
        other="check that it is a dataset in SQuAD's layout that the installed datasets library can read",
        other_kind=DataError,
    )


def _load_dataset(name: str, revision: str) -> Mapping[str, Iterable[Row]]:
    import datasets  # 1 s to import, and only this source needs it

    bound_hub_waits()
    splits: Mapping[str, Iterable[Row]] = datasets.load_dataset(name, revision=revision)
    return splits


def _from_row(row: Row, where: str) -> Record:
    try:
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        if len(texts) != len(starts):
            raise DataError(
                f"{where} has {len(texts)} answer texts but {len(starts)} answer starts",
                why="each answer needs the place where it starts in the context",
                do="choose a dataset with the columns of rajpurkar/squad in data.hub_dataset",
            )
        record = Record(
            id=row["id"],
            title=row.get("title", ""),
            context=row["context"],
            question=row["question"],
            answers=tuple(Answer(text, int(start)) for text, start in zip(texts, starts, strict=True)),
            where=where,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _no_squad_row(where, f"{type(error).__name__}: {error}") from error
    texts_of_record = [record.id, record.title, record.context, record.question, *texts]
    if not all(isinstance(text, str) for text in texts_of_record):
        raise _no_squad_row(where, "one of id, title, context, question and answers.text is no text")
    return record


def _no_squad_row(where: str, why: str) -> DataError:
    return DataError(
        f"{where} is not a row of SQuAD",
        why=why,
        do="choose a dataset with the columns of rajpurkar/squad (id, title, context, question, answers) in "
        "data.hub_dataset",
    )


def _check_count(split: str, num_records: int, settings: DataSettings) -> None:
    field = f"expected_{split}_questions"
    expected: int | None = getattr(settings, field)
    if expected is not None and num_records != expected:
        raise DataError(
            f"the {split} split has {num_records} rows, not the expected {expected}",
            why="the source was changed, or was fetched in part",
            do=f"fetch it again; if it was changed on purpose, --set data.{field}={num_records}",
        )
