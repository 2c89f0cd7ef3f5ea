"""The layout of datasets and features on disk: what every stage and every runtime reads.

A *dataset* folder holds ``train.arrow`` and ``validation.arrow``, one row per question. A *features* folder holds
files of the same names, one row per feature (a window of a question and its context), plus ``layout.json`` and
``tokenizer/``. All are Arrow IPC files, written in record batches and read through a memory map. Nothing is padded.

Needs pyarrow and numpy alone and runs on Python 3.8 (the IPU runtime).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, Union

import numpy as np
import pyarrow as pa

from podsquad.errors import DataError
from podsquad.store.durable import parse_object

SPLITS = ("train", "validation")
LAYOUT_FILE = "layout.json"

DATASET_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        # A context is asked about several times: stored once per record batch, pointed at by its rows.
        ("context", pa.dictionary(pa.int32(), pa.string())),
        ("question", pa.string()),
        ("answers", pa.list_(pa.struct([("text", pa.string()), ("answer_start", pa.int32())]))),
    ]
)

FEATURES_SCHEMA = pa.schema(
    [
        ("question_index", pa.int32()),  # row of the question in the dataset's split
        ("question_hash", pa.uint64()),  # of its id, as hash_id has it: what the ledger of a training counts
        ("context_start", pa.int16()),  # index of the first context token in input_ids
        ("context_length", pa.int16()),  # number of context tokens
        ("start_position", pa.int16()),  # token labels; both 0 where the window does not hold the answer
        ("end_position", pa.int16()),
        ("input_ids", pa.list_(pa.int32())),  # the whole window with its special tokens, unpadded
        ("char_starts", pa.list_(pa.int32())),  # per context token: its first character in the context
        ("char_ends", pa.list_(pa.int32())),  # and one past its last
    ]
)


class Ragged:
    """Rows of different lengths in one flat array: row ``i`` is ``flat[offsets[i]:offsets[i + 1]]``.

    ``flat`` is a 1-d array, ``offsets`` int64 of shape (num_rows + 1,). Both are read-only.
    """

    def __init__(self, flat: np.ndarray, offsets: np.ndarray) -> None:
        self.flat = flat
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Lengths of all rows, int64."""
        return np.diff(self.offsets)


class Features:
    """One split of a features folder.

    Columns of numbers are numpy arrays of shape (num_features,); ``input_ids``, ``char_starts`` and ``char_ends``
    are Ragged. A file of one record batch stays in the memory map; several are joined on first use.
    """

    def __init__(self, folder: Union[str, Path], split: str) -> None:
        """Open ``<folder>/<split>.arrow``. Raises DataError when it is not a features file."""
        self.path = Path(folder) / (split + ".arrow")
        self._table = read_table(self.path, FEATURES_SCHEMA)
        self._cache: Dict[str, Any] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _numbers(self, name: str) -> np.ndarray:
        if name not in self._cache:
            chunks = [_to_numpy(chunk) for chunk in self._table.column(name).chunks]
            none = np.zeros(0, np.dtype(str(FEATURES_SCHEMA.field(name).type)))
            self._cache[name] = chunks[0] if len(chunks) == 1 else np.concatenate([none, *chunks])
        values: np.ndarray = self._cache[name]
        return values

    def _ragged(self, name: str) -> Ragged:
        if name not in self._cache:
            self._cache[name] = _join(self._table.column(name))
        rows: Ragged = self._cache[name]
        return rows

    @property
    def question_index(self) -> np.ndarray:
        """Row of each feature's question in the dataset's split, int32, non-decreasing."""
        return self._numbers("question_index")

    @property
    def question_hash(self) -> np.ndarray:
        """``hash_id`` of each feature's question, uint64."""
        return self._numbers("question_hash")

    @property
    def context_start(self) -> np.ndarray:
        """Index of the first context token in each window, int16."""
        return self._numbers("context_start")

    @property
    def context_length(self) -> np.ndarray:
        """Number of context tokens in each window, int16."""
        return self._numbers("context_length")

    @property
    def start_position(self) -> np.ndarray:
        """Token at which the first annotated answer starts, int16; 0 where the window does not hold it."""
        return self._numbers("start_position")

    @property
    def end_position(self) -> np.ndarray:
        """Token in which the first annotated answer ends, int16; 0 where the window does not hold it."""
        return self._numbers("end_position")

    @property
    def input_ids(self) -> Ragged:
        """Token ids of each window, special tokens included, int32."""
        return self._ragged("input_ids")

    @property
    def char_starts(self) -> Ragged:
        """For each context token of each window the offset of its first character in the context, int32."""
        return self._ragged("char_starts")

    @property
    def char_ends(self) -> Ragged:
        """For each context token of each window the offset one past its last character, int32."""
        return self._ragged("char_ends")


def hash_id(question_id: str) -> int:
    """Return the first 64 bits of the SHA-256 of a question's id in UTF-8, as an integer in little-endian order."""
    return int.from_bytes(hashlib.sha256(question_id.encode("utf-8")).digest()[:8], "little")


def read_layout(folder: Union[str, Path]) -> Dict[str, Any]:
    """Return a features folder's ``layout.json``.

    Its keys: ``max_length`` and ``stride`` (tokens), ``vocab_size``, ``pad_token_id``, ``uses_token_types`` (the
    context and the closing token are of type 1), ``splits`` (per split: ``num_features``, ``num_tokens``,
    ``longest_tokens``, ``num_questions``).
    """
    path = Path(folder) / LAYOUT_FILE
    try:
        layout: Dict[str, Any] = parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            "cannot read the features' layout {}: {}".format(path, error),
            why="it is missing, cut short or was changed by hand",
            do="delete that features folder; the next run builds it again",
        ) from error
    return layout


def read_table(path: Union[str, Path], schema: pa.Schema) -> pa.Table:
    """Return a memory-mapped table of exactly that schema, without nulls. Raises DataError otherwise.

    Every offset and index is checked to lie within its data, and every text to be UTF-8: Arrow itself trusts a file,
    and reads what lies beside it in memory where a byte of it is wrong.
    """
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.validate(full=True)
    except (OSError, MemoryError, pa.ArrowException) as error:
        raise DataError(
            "cannot read {} as an Arrow file: {}".format(path, error),
            why="the file is missing, cut short or of another kind",
            do="delete the artifact that holds it; the next run builds it again",
        ) from error
    if not table.schema.equals(schema):
        raise DataError(
            "{} holds other columns than expected: {}".format(path, ", ".join(table.schema.names)),
            why="it was written by another version of podsquad",
            do="delete the artifact that holds it; the next run builds it again",
        )
    if any(_has_nulls(chunk) for column in table.columns for chunk in column.chunks):
        raise DataError(
            "{} has places without a value".format(path),
            why="podsquad writes none",
            do="delete the artifact that holds it; the next run builds it again",
        )
    return table


def _has_nulls(array: pa.Array) -> bool:
    if array.null_count:
        return True
    if isinstance(array, pa.DictionaryArray):
        return _has_nulls(array.dictionary)
    if isinstance(array, pa.ListArray):
        return _has_nulls(array.values)
    return isinstance(array, pa.StructArray) and any(_has_nulls(array.field(n)) for n in range(array.type.num_fields))


def _to_numpy(array: pa.Array) -> np.ndarray:
    """Return what ``array.to_numpy()`` does, without the tenths of a second in which that imports pandas first."""
    kind = np.dtype(str(array.type))
    if not len(array):
        return np.zeros(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def _join(column: pa.ChunkedArray) -> Ragged:
    flats, lengths = [], []
    for chunk in column.chunks:
        offsets = _to_numpy(chunk.offsets)
        flats.append(_to_numpy(chunk.values)[offsets[0] : offsets[-1]])
        lengths.append(np.diff(offsets))
    if not flats:
        return Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64))
    flat = flats[0] if len(flats) == 1 else np.concatenate(flats)
    offsets = np.zeros(sum(map(len, lengths)) + 1, np.int64)
    np.cumsum(np.concatenate(lengths), out=offsets[1:])
    return Ragged(flat, offsets)
