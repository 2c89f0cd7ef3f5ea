"""Whether questions are those that a receipt names: by checksum, and by building and scoring from them again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from podsquad.config.data_settings import DataSettings
from podsquad.data.dataset import REPORT_FILE, build_dataset
from podsquad.data.sources import digest_records, load_source
from podsquad.data.squad import parse_squad, read_file
from podsquad.errors import PodsquadError, SettingsError
from podsquad.evaluation.scoring import SPLIT
from podsquad.publishing.findings import Finding
from podsquad.publishing.listing import read_digest
from podsquad.publishing.receipt import Receipt
from podsquad.publishing.verify import Published
from podsquad.publishing.verify_scores import verify_scores
from podsquad.stages.libraries import library_versions

GENERATED = "demo"
_OF_SPLITS = ("train.arrow", "validation.arrow")  # of a dataset: what does not tell where the questions were read


def verify_data(receipt: Receipt, published: Published, data: Sequence[str]) -> Iterator[Finding]:
    """Yield what becomes of each file of questions, of the dataset that is built from them, and of the scores.

    ``data`` names SQuAD v1.1 JSON files, each either split's, or is ``demo`` alone, for the generated world. A file
    counts if its SHA-256 is the receipt's, or its records are: the same questions may lie in another file, or have come
    from the Hub. Where all splits are there the dataset is built again; its bytes are compared if the libraries that
    shape them are those of the receipt. With the validation split every published answer is scored again.

    Raises InputMissingError and DataError for a file that cannot be read, SettingsError for a world that is none.
    """
    if list(data) == [GENERATED]:
        if receipt.data.get("source") != GENERATED:
            raise SettingsError(
                "this model was not trained on the demo world",
                why=f"its receipt names the source {receipt.data.get('source')!r}",
                do="give the files of its questions with --data FILE",
            )
        built = list(_verify_built(receipt, {"data.source": GENERATED}))
        yield from built
        if not any(finding.is_fault for finding in built):
            world = load_source(_settings(receipt, {"data.source": GENERATED}))
            yield verify_scores(receipt, published, world.records[SPLIT])
        return
    found: dict[str, Path] = {}
    for name in data:
        path = Path(name)
        split = _split_of(receipt, path)
        told = f"it holds the records of the {split} split" if split else "it is neither split of this model's data"
        yield Finding("data", name, "ok" if split else "changed", told)
        if split:
            found[split] = path
    splits: Mapping[str, Any] = receipt.data.get("splits", {})
    if missing := [split for split in splits if split not in found]:
        told = f"no file of the {' and the '.join(missing)} split was given"
        yield Finding("data", "dataset", "not checked", told)
    else:
        places = {f"data.{split}_file": path for split, path in found.items()}
        yield from _verify_built(receipt, {"data.source": "files", **places})
    if SPLIT in found:
        yield verify_scores(receipt, published, parse_squad(read_file(found[SPLIT], "--data"), str(found[SPLIT])))


def _split_of(receipt: Receipt, path: Path) -> str:
    content = read_file(path, "--data")
    sha256 = hashlib.sha256(content).hexdigest()
    for split, file in receipt.data.get("files", {}).items():
        if file.get("sha256") == sha256:
            return str(split)
    records = digest_records(parse_squad(content, str(path)))
    for split, entry in receipt.data.get("splits", {}).items():
        if entry.get("records_sha256") == records:
            return str(split)
    return ""


def _settings(receipt: Receipt, source: Mapping[str, Any]) -> DataSettings:
    """Return the settings that the dataset was made by, with the questions taken from ``source``."""
    settings = {**receipt.stages["download"].ingredients.settings, **source}
    named = {name.removeprefix("data."): value for name, value in settings.items() if name.startswith("data.")}
    return DataSettings.model_validate(named)


def _verify_built(receipt: Receipt, source: Mapping[str, Any]) -> Iterator[Finding]:
    """Build the dataset from the source as the receipt's settings say, and compare it."""
    stage = receipt.stages["download"]
    libraries = {name: stage.ingredients.libraries.get(name) for name in ("pyarrow",)}
    names = (*_OF_SPLITS, REPORT_FILE)
    with tempfile.TemporaryDirectory(prefix="podsquad-verify-") as folder:
        try:
            build_dataset(_settings(receipt, source), Path(folder), log=lambda line: None)
        except (PodsquadError, ValueError) as error:
            yield Finding("data", "dataset", "changed", f"it cannot be built again: {str(error).splitlines()[0]}")
            return
        built = {name: read_digest(Path(folder) / name) for name in names}
    wanted = {name: stage.files.get(name) for name in names}
    differing = [
        name for name, entry in wanted.items() if entry is None or built[name] != (entry.num_bytes, entry.sha256)
    ]
    if differing and (here := library_versions(libraries)) != libraries:
        told = ", ".join(f"{name} {libraries[name]} there, {here[name]} here" for name in here)
        yield Finding("data", "dataset", "not checked", f"the library that writes it is another: {told}")
    elif differing:
        told = f"{', '.join(differing)} of the dataset is not what these questions give"
        yield Finding("data", "dataset", "changed", told)
    else:
        yield Finding("data", "dataset", "ok", "built again from these questions, with the same bytes")
